/*
 * queues.c -- the queues of ahead.h: which there are, what a request weighs there, and when it is
 * somebody's turn. What is fetched again: refetch.c.
 */
#include "common/app/metrics.h"
#include "common/base/must.h"
#include "common/base/plant.h"
#include "common/base/xalloc.h"
#include "worker/intake/ahead.h"
#include "worker/intake/copies.h"
#include "worker/intake/glance.h"

enum {
    TENANTS_MAX = 65536, /* known at a time; more share one queue */
    IDLE_MS = 30000,     /* then a tenant with nothing to do is forgotten */
    PARTS_AT_LEAST = 4,  /* requests a queue may keep whole, however many tenants there are */
    JOBS_ENOUGH = 128,   /* more wait as copies: a job is ten times as large */
    OUTPUT_FIRST = 256,  /* tokens of an answer, while none was seen */
    ODD = 64,            /* times of what is usual: nobody has used so many */
    PARKED_COPIES = 3,   /* what a parked job needs, in sizes of its record */
    GLANCE_BYTES_MAX = 1 << 26
};

/* Whose a request is that cannot be read. */
static const struct str nobody = {"", 0};

static size_t lane_number(const struct intake *intake, const struct lane *lane)
{
    return (size_t)(lane - intake->lanes);
}

static int64_t weight_of(const struct worker_conf *conf, struct str tenant)
{
    const struct tenant_conf *tenants = conf->shared.tenants.items;
    for (size_t i = 0; i < conf->shared.tenants.count; i++)
        if (str_eq(tenants[i].name, tenant))
            return tenants[i].weight;
    return 1;
}

/* Behind those of the first lane, too, the second has its floor. */
static uint64_t turn_weight(const struct worker_conf *conf, const struct lane *lane, int64_t weight)
{
    int64_t floor = conf->batch_floor, scaled = weight * TURN_WEIGHT;
    if (lane->batch && conf->lanes.count > 1)
        scaled = scaled * floor / (100 - floor);
    return scaled > 0 ? (uint64_t)scaled : 1;
}

static void queue_free(struct intake *intake, struct tenant_queue *queue)
{
    must(queue->jobs.count == 0 && queue->stubs.count == 0 && queue->put_off == 0);
    list_remove(&intake->hungry, &queue->hungry_node);
    share_leave(&intake->shares, &queue->share);
    free(queue);
}

static void forget_idle(struct intake *intake, int64_t before_ms)
{
    for (struct share *share; (share = shares_forgettable(&intake->shares, before_ms));)
        queue_free(intake, container_of(share, struct tenant_queue, share));
}

void ahead_init(struct intake *intake)
{
    shares_init(&intake->shares, intake->worker->conf->batch_floor);
    list_init(&intake->hungry);
    list_init(&intake->runs);
    put_offs_init(intake);
}

void ahead_done(struct intake *intake)
{
    put_offs_done(intake);
    for (size_t i = 0; i < SHARE_LANES_MAX; i++)
        for (struct map_node *node; (node = map_any(&intake->shares.lanes[i].known));)
            queue_free(intake, container_of(container_of(node, struct share, node),
                                            struct tenant_queue, share));
    shares_done(&intake->shares);
}

static struct tenant_queue *queue_find(const struct intake *intake, size_t lane, struct str tenant)
{
    struct share *share = shares_find(&intake->shares, lane, tenant);
    return share ? container_of(share, struct tenant_queue, share) : NULL;
}

static struct tenant_queue *queue_new(struct intake *intake, size_t lane, struct str tenant)
{
    struct tenant_queue *queue = xzalloc(sizeof(*queue) + tenant.len + 1);
    list_init(&queue->jobs);
    list_init(&queue->lines);
    memcpy(queue->tenant, tenant.data, tenant.len);
    share_join(&intake->shares, &queue->share, lane, str_from(queue->tenant, tenant.len), 1);
    return queue;
}

/* Of those for whom there was no room when they came: no tenant has such a name. While it has
 * something, who is new goes there, else his next request would overtake his last. */
static struct tenant_queue *queue_of_rest(struct intake *intake, size_t lane)
{
    struct str name = STR("\x01rest");
    struct tenant_queue *rest = queue_find(intake, lane, name);
    if (intake->shares.known >= TENANTS_MAX)
        return rest ? rest : queue_new(intake, lane, name);
    return rest && (rest->jobs.count || rest->stubs.count) ? rest : NULL;
}

static struct tenant_queue *queue_of(struct intake *intake, struct lane *lane, struct str tenant)
{
    const struct worker_conf *conf = intake->worker->conf;
    size_t number = lane_number(intake, lane);
    forget_idle(intake, loop_now_ms(intake->worker->loop) - IDLE_MS);
    struct tenant_queue *queue = queue_find(intake, number, tenant);
    if (!queue)
        queue = queue_of_rest(intake, number);
    if (!queue)
        queue = queue_new(intake, number, tenant);
    if (queue->conf != conf) { /* new, or reloaded */
        queue->conf = conf;
        queue->share.weight = weight_of(conf, queue->share.node.key);
        queue->turn.weight = turn_weight(conf, lane, queue->share.weight);
    }
    return queue;
}

/* Its part of a bound that is for all: half of it is for those who come. */
static size_t part_of(const struct intake *intake, int64_t bound)
{
    size_t waiting = intake->queues_waiting ? intake->queues_waiting : 1;
    return (size_t)bound / (2 * waiting);
}

size_t queue_part(const struct intake *intake)
{
    size_t part = part_of(intake, intake->worker->conf->read_ahead);
    return part > PARTS_AT_LEAST ? part : PARTS_AT_LEAST;
}

/* There is room for one more of that size: among all, and in its own part. */
bool queue_has_room(const struct intake *intake, const struct tenant_queue *queue, size_t bytes)
{
    const struct worker_conf *conf = intake->worker->conf;
    if (queue->jobs.count == 0)
        return intake->ahead_bytes + bytes <= (size_t)conf->read_ahead_bytes ||
               intake->ahead_jobs == 0;
    return intake->ahead_jobs < (size_t)conf->read_ahead &&
           intake->ahead_bytes + bytes <= (size_t)conf->read_ahead_bytes &&
           queue->jobs.count < queue_part(intake) &&
           queue->bytes + bytes <= part_of(intake, conf->read_ahead_bytes);
}

bool queue_has_enough(const struct tenant_queue *queue)
{
    const struct stub *first = stubs_first(&queue->stubs);
    return first && first->copy && queue->jobs.count >= JOBS_ENOUGH;
}

/* Too many of its requests wait for others of it: more would only wait, too. */
static bool blocked(const struct intake *intake, const struct tenant_queue *queue)
{
    const struct worker_conf *conf = intake->worker->conf;
    size_t most = (size_t)conf->parked_max / (intake->shares.known ? intake->shares.known : 1);
    return queue->parked > 0 &&
           (queue->parked >= most || intake->parked_count >= (size_t)conf->parked_max ||
            intake->parked_bytes * PARKED_COPIES > (size_t)conf->read_ahead_bytes);
}

static void count_waiting(struct intake *intake, struct tenant_queue *queue)
{
    bool waits = queue->jobs.count || queue->stubs.count;
    if (waits && !queue->waits)
        intake->queues_waiting++;
    else if (!waits && queue->waits)
        intake->queues_waiting--;
    queue->waits = waits;
}

void queue_look(struct intake *intake, struct tenant_queue *queue)
{
    struct list_node *node = list_first(&queue->jobs);
    bool ready = node && container_of(node, struct job, node)->record && !blocked(intake, queue);
    count_waiting(intake, queue);
    if (node || queue->stubs.count || queue->inside || queue->put_off)
        share_busy(&intake->shares, &queue->share);
    else
        share_idle(&intake->shares, &queue->share, loop_now_ms(intake->worker->loop));
    if (ready)
        share_ready(&intake->shares, &queue->share);
    else
        share_unready(&intake->shares, &queue->share);
    if (queue->stubs.count && !list_linked(&queue->hungry_node) && !queue_has_enough(queue) &&
        queue->jobs.count <= queue_part(intake) / 2)
        list_append(&intake->hungry, &queue->hungry_node);
}

/* ---- what a request is ---- */

static void look_whole(struct intake *intake, const struct kafka_record *record,
                       enum encoding encoding, struct glance *ret)
{
    struct arena arena;
    struct value document;
    struct err err;
    static char tenant[64];
    *ret = (struct glance){nobody, INT_ABSENT, INT_ABSENT, INT_ABSENT};
    arena_init(&arena, intake->worker->pool, GLANCE_BYTES_MAX);
    if (contract_parse(record->value, encoding, &arena, &document, &err)) {
        glance_parsed(&document, ret);
        ret->tenant = str_utf8_cut(ret->tenant, sizeof(tenant));
        if (ret->tenant.data) {
            memcpy(tenant, ret->tenant.data, ret->tenant.len);
            ret->tenant.data = tenant;
        }
    }
    arena_done(&arena);
}

/* Whose it is, and until when it wants an answer. What cannot be read is tenant "". */
static void look_at(struct intake *intake, const struct kafka_record *record, struct glance *ret)
{
    enum encoding encoding;
    if (!encoding_by_type(kafka_record_header(record, HEADER_CONTENT_TYPE), &encoding))
        *ret = (struct glance){nobody, INT_ABSENT, INT_ABSENT, INT_ABSENT};
    else if (!glance_at(record->value, encoding, ret))
        look_whole(intake, record, encoding, ret);
    if (str_empty(ret->tenant) && ret->tenant.data != nobody.data) /* as admit.c */
        ret->tenant = STR("default");
    else if (!request_name_ok(ret->tenant, 64))
        ret->tenant = nobody;
}

static int64_t deadline_of(const struct intake *intake, const struct kafka_record *record,
                           const struct glance *glance)
{
    int64_t from = record->timestamp_ms, span = glance->deadline_ms;
    if (glance->created_at != INT_ABSENT && glance->created_at < from)
        from = glance->created_at;
    if (span == INT_ABSENT || span > INT64_MAX / 4)
        span = intake->worker->conf->default_deadline_ms;
    return from + span;
}

static uint32_t cost_of(const struct tenant_queue *queue, size_t bytes, const struct glance *glance)
{
    double output = queue->output > 0 ? queue->output : OUTPUT_FIRST;
    if (glance->max_tokens > 0 && (double)glance->max_tokens < output)
        output = (double)glance->max_tokens;
    double cost = (double)bytes / 4 + output;
    return cost < SHARE_COST_MIN ? SHARE_COST_MIN : (uint32_t)cost;
}

/* ---- in and out ---- */

void queue_own_job(struct tenant_queue *queue, struct job *job, const struct stub *stub)
{
    job->queue = queue;
    job->tenant_turn = &queue->turn;
    job->cost = stub->cost;
    job->ahead_bytes = stub->bytes;
    job->ahead_offset = stub->offset;
    job->ahead_deadline_at = stub->deadline_at;
}

void queue_add_job(struct intake *intake, struct tenant_queue *queue, struct job *job,
                   const struct stub *stub)
{
    queue_own_job(queue, job, stub);
    list_append(&queue->jobs, &job->node);
    queue->bytes += stub->bytes;
    intake->ahead_bytes += stub->bytes;
    intake->ahead_jobs++;
}

static void remove_job(struct intake *intake, struct job *job)
{
    struct tenant_queue *queue = job->queue;
    list_remove(&queue->jobs, &job->node);
    queue->bytes -= job->ahead_bytes;
    intake->ahead_bytes -= job->ahead_bytes;
    intake->ahead_jobs--;
}

static bool may_copy(const struct intake *intake, const struct tenant_queue *queue, size_t bytes)
{
    const struct worker_conf *conf = intake->worker->conf;
    return intake->copied_bytes + bytes <= (size_t)conf->stub_bytes &&
           queue->copied_bytes + bytes <= part_of(intake, conf->stub_bytes);
}

/* With a copy of the record while there is room for it. */
static void push_stub(struct intake *intake, struct tenant_queue *queue, struct stub stub,
                      const struct kafka_record *record)
{
    size_t bytes = copy_bytes(record);
    if (may_copy(intake, queue, bytes)) {
        stub.copy = copy_make(record, stub.partition->topic);
        queue->copied_bytes += bytes;
        intake->copied_bytes += bytes;
    }
    stubs_push(&queue->stubs, &stub);
    stub.partition->lane->stub_count++;
    stub.partition->jobs++;
}

struct stub queue_take_stub(struct intake *intake, struct tenant_queue *queue)
{
    struct stub stub = stubs_pop(&queue->stubs);
    stub.partition->lane->stub_count--;
    if (stub.copy) {
        size_t bytes = copy_bytes(stub.copy);
        queue->copied_bytes -= bytes;
        intake->copied_bytes -= bytes;
    }
    return stub;
}

static bool becomes_job(const struct intake *intake, const struct tenant_queue *queue,
                        const struct kafka_record *record)
{
    if (queue->stubs.count && !PLANTED(50))
        return false;
    if (queue->jobs.count >= JOBS_ENOUGH && may_copy(intake, queue, copy_bytes(record)))
        return false;
    return queue_has_room(intake, queue, record->value.len) || PLANTED(45);
}

void ahead_take(struct intake *intake, struct partition *partition, struct kafka_record *record)
{
    struct glance glance;
    look_at(intake, record, &glance);
    struct tenant_queue *queue = queue_of(intake, partition->lane, glance.tenant);
    const struct stub stub = {.partition = partition,
                              .offset = record->offset,
                              .deadline_at = deadline_of(intake, record, &glance),
                              .bytes = (uint32_t)record->value.len,
                              .cost = cost_of(queue, record->value.len, &glance)};
    if (becomes_job(intake, queue, record)) {
        struct job *job = intake_job_new(intake, partition);
        intake_job_fill(job, record);
        queue_add_job(intake, queue, job, &stub);
    } else {
        push_stub(intake, queue, stub, record);
        if (PLANTED(49))
            offset_tracker_finish(partition->tracker, record->offset);
    }
    queue_look(intake, queue);
}

/* One that is too late costs nothing but the words that say so. */
static int64_t cost_now(const struct job *job)
{
    return job->ahead_deadline_at <= loop_wall_ms(job->worker->loop) ? 0 : job->cost;
}

struct job *ahead_next(struct intake *intake)
{
    const struct worker_conf *conf = intake->worker->conf;
    size_t places = (size_t)conf->max_in_flight;
    struct job *late = put_off_next_late(intake);
    if (late || intake->active_count >= places)
        return late;
    struct share *share = share_next(&intake->shares, places, places - intake->active_count,
                                     places * (size_t)conf->headroom / 100);
    if (!share)
        return NULL;
    struct tenant_queue *queue = container_of(share, struct tenant_queue, share);
    struct job *job = container_of(list_first(&queue->jobs), struct job, node);
    remove_job(intake, job);
    job->cost = cost_now(job);
    share_started(&intake->shares, share, job->cost);
    share->running++;
    queue->inside++;
    queue_look(intake, queue);
    return job;
}

void ahead_parked(struct job *job, int more)
{
    struct tenant_queue *queue = job->queue;
    queue->parked += (size_t)more;
    queue->share.running -= (size_t)more;
    queue_look(job->worker->intake, queue);
}

/* ---- what it cost ---- */

/* Tokens that providers counted. Of a call that was cut nobody knows: `ret_unknown`. */
static int64_t tokens_of(const struct job *job, int64_t *ret_output, bool *ret_unknown)
{
    int64_t input = 0, output = 0;
    *ret_unknown = false;
    for (int i = 0; i < job->slot_count; i++) {
        const struct slot *slot = &job->slots[i];
        for (unsigned k = 0; k < slot->attempt; k++) {
            input += slot->attempts[k].usage.input;
            output += slot->attempts[k].usage.output;
            *ret_unknown |= slot->attempts[k].http_status <= 0;
        }
    }
    *ret_output = output;
    return input + output;
}

/* One odd count of a provider, billions of tokens, must not put its tenant behind all others for
 * hours. Requests of 16 models, each asked again, stay far below. */
static int64_t not_odd(int64_t tokens, double usual)
{
    double most = ODD * (usual > OUTPUT_FIRST ? usual : OUTPUT_FIRST);
    return (double)tokens < most ? tokens : (int64_t)most;
}

void ahead_ended(struct job *job, bool ok)
{
    struct intake *intake = job->worker->intake;
    struct tenant_queue *queue = job->queue;
    int64_t output;
    bool unknown;
    int64_t tokens = not_odd(tokens_of(job, &output, &unknown), (double)job->cost);
    output = not_odd(output, queue->output);
    if (tokens < SHARE_COST_MIN)
        tokens = SHARE_COST_MIN;
    if (unknown && tokens < job->cost)
        tokens = job->cost;
    if (ok && output > 0)
        queue->output = queue->output > 0 ? queue->output + ((double)output - queue->output) / 16
                                          : (double)output;
    share_settled(&intake->shares, &queue->share, tokens - job->cost);
    if (job->active)
        queue->share.running--;
    else
        queue->parked--;
    queue->inside--;
    queue_look(intake, queue);
}

/* ---- bounds, forgetting ---- */

bool ahead_full(const struct intake *intake, const struct lane *lane)
{
    return lane->stub_count >= (size_t)intake->worker->conf->stubs_max;
}

bool ahead_has_room(const struct intake *intake, const struct lane *lane)
{
    return lane->stub_count <= (size_t)intake->worker->conf->stubs_max / 2;
}

static void drop_stubs(struct intake *intake, struct tenant_queue *queue, bool not_owned_only)
{
    struct stubs kept = {0};
    while (queue->stubs.count) {
        if (not_owned_only && stubs_first(&queue->stubs)->partition->owned) {
            struct stub stub = stubs_pop(&queue->stubs);
            stubs_push(&kept, &stub);
            continue;
        }
        struct stub stub = queue_take_stub(intake, queue);
        free(stub.copy);
        partition_release(stub.partition);
    }
    queue->stubs = kept;
}

struct dropping {
    struct intake *intake;
    bool not_owned_only;
};

static void drop_of(struct map_node *node, void *context)
{
    const struct dropping *how = context;
    struct intake *intake = how->intake;
    struct tenant_queue *queue =
        container_of(container_of(node, struct share, node), struct tenant_queue, share);
    LIST_EACH(&queue->jobs, item)
    {
        struct job *job = container_of(item, struct job, node);
        if (how->not_owned_only && job->partition->owned)
            continue;
        remove_job(intake, job);
        intake_job_free(intake, job);
    }
    drop_stubs(intake, queue, how->not_owned_only);
    queue_look(intake, queue);
}

void ahead_drop(struct intake *intake, bool not_owned_only)
{
    struct dropping how = {intake, not_owned_only};
    refetch_drop(intake, not_owned_only);
    put_off_drop(intake, not_owned_only);
    for (size_t i = 0; i < intake->lane_count; i++)
        map_each(&intake->shares.lanes[i].known, drop_of, &how);
}

void ahead_measure(const struct intake *intake)
{
    metric_set(METRIC_requests_ahead, (int64_t)intake->ahead_jobs);
    size_t stubs = 0;
    for (size_t i = 0; i < intake->lane_count; i++)
        stubs += intake->lanes[i].stub_count;
    metric_set(METRIC_requests_ahead_stubs, (int64_t)stubs);
    put_off_measure(intake);
    metric_set(METRIC_tenants_known, (int64_t)intake->shares.known);
}
