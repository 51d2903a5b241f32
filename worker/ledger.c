/*
 * ledger.c -- see ledger.h.
 */
#include "worker/ledger.h"

#include "common/app/metrics.h"
#include "common/base/log.h"
#include "common/base/must.h"
#include "common/base/plant.h"
#include "common/base/rand.h"
#include "common/base/xalloc.h"
#include "common/data/digest.h"
#include "worker/job.h"

/* NOTES_MAX: with the most attempts of a model (50) they are what a result takes. */
enum { NOTES_MAX = 14, TELLING_MAX = 10000, TRIES_MAX = 20, PAUSE_MS = 500 };

struct ledger {
    struct worker *worker;
    struct list telling;
    size_t lost;
};

/* One result of status "calls" on its way. */
struct telling {
    struct list_node node;
    struct ledger *ledger;
    struct timer timer;
    struct buf packed;
    unsigned tries;
    bool under_way;
    struct str claim; /* not given back meanwhile: should we die, it tells of them; or absent */
    size_t key_len;
    char key[];
};

struct ledger *ledger_new(struct worker *worker)
{
    struct ledger *ledger = xzalloc(sizeof(*ledger));
    ledger->worker = worker;
    list_init(&ledger->telling);
    return ledger;
}

static void telling_free(struct telling *t)
{
    timer_cancel(t->ledger->worker->loop, &t->timer);
    list_remove(&t->ledger->telling, &t->node);
    buf_done(&t->packed);
    if (t->claim.data)
        t->ledger->worker->let_claim(t->ledger->worker, t->claim);
    free((char *)(uintptr_t)t->claim.data);
    free(t);
}

static void lose(struct ledger *ledger, const char *why)
{
    if (ledger->lost++ == 0)
        log_error("calls of a slot that was given up are not told to the ledger",
                  LOG_C("error", why));
}

void ledger_free(struct ledger *ledger)
{
    if (!ledger)
        return;
    while (!list_empty(&ledger->telling)) {
        struct telling *t = container_of(list_first(&ledger->telling), struct telling, node);
        if (!t->under_way) /* else the producer's end has sent it */
            lose(ledger, "the worker leaves, and Kafka did not take them in time");
        telling_free(t);
    }
    free(ledger);
}

/* ---- what became of a call ---- */

struct str ledger_outcome(const struct slot *slot, const struct err *err)
{
    bool no_reply = slot->call_err.code && !slot->streamed;
    if (slot->lost && err->code == ERR_CANCELLED)
        return STR("hedged");
    switch (err->code) {
    case ERR_NONE:
        return STR("ok");
    case ERR_CANCELLED:
    case ERR_EXPIRED:
        return STR("cancelled");
    case ERR_PROVIDER_TIMEOUT:
        return slot->cut_short ? STR("cancelled") : STR("cut");
    case ERR_PROVIDER_CUT:
        return STR("cut");
    default:
        return no_reply && slot->sends ? STR("cut") : STR("failed");
    }
}

/* ---- notes ---- */

static struct attempt *add_note(struct slot *slot)
{
    struct job *job = slot->job;
    if (!slot->notes)
        slot->notes = arena_array(&job->arena, struct attempt, NOTES_MAX);
    if (slot->note_count == NOTES_MAX) {
        log_warn("too many calls of unknown fate for one answer, further ones are not told",
                 LOG_S("tenant", job->tenant), LOG_S("id", job->id));
        return NULL;
    }
    struct attempt *note = &slot->notes[slot->note_count++];
    contract_init(&contract_attempt, note);
    note->outcome = STR("ambiguous");
    return note;
}

/* A UUID (version 8) of the hash of tenant, request, slot and the life that ended. */
static struct str ended_id(struct slot *slot, struct str life)
{
    struct job *job = slot->job;
    char h[33];
    struct str name =
        arena_printf(&job->arena, STR_FMT "\n" STR_FMT "\n%d\n" STR_FMT, STR_ARG(job->tenant),
                     STR_ARG(job->id), slot->number, STR_ARG(life));
    digest_sha256_hex(name, h, 32);
    return arena_printf(&job->arena, "%.8s-%.4s-8%.3s-a%.3s-%.12s", h, h + 8, h + 13, h + 17,
                        h + 20);
}

static bool is_noted(const struct slot *slot, struct str id)
{
    for (unsigned i = 0; i < slot->note_count; i++)
        if (str_eq(slot->notes[i].run_id, id))
            return true;
    return false;
}

/* "INSTANCE INCARNATION hedge": of the second call of that life. */
static bool is_of_hedge(struct str *life)
{
    struct str word = STR(" hedge");
    bool is = str_ends(*life, word);
    if (is)
        life->len -= word.len;
    return is;
}

static bool is_ours(const struct worker *worker, struct str life)
{
    char ours[200];
    snprintf(ours, sizeof(ours), "%s %lld", worker->instance, (long long)worker->incarnation);
    is_of_hedge(&life);
    return str_is(life, ours);
}

/* When the call was made nobody knows; the request's own time is the same for whoever writes it. */
static void note_ended(struct slot *slot, struct str life)
{
    struct job *job = slot->job;
    struct str id = ended_id(slot, life);
    struct attempt *note = is_noted(slot, id) ? NULL : add_note(slot);
    if (!note)
        return;
    note->run_id = id;
    if (slot->model) {
        note->model = slot->model->dialect.name;
        note->provider = str_of(slot->model->provider->name);
    }
    note->started_at = job->created_at;
    const char *what =
        is_of_hedge(&life) ? "made a second call beside its first" : "called the provider";
    note->error_message = arena_printf(&job->arena,
                                       "worker " STR_FMT " ended with the request in hand: it may"
                                       " have %s, and that may have been paid",
                                       STR_ARG(life), what);
    metric_add(METRIC_calls_ambiguous_total, 1);
}

void ledger_note_ended(struct slot *slot, struct str lives)
{
    struct str life;
    while (lives.len && str_split(&lives, '\n', &life))
        if (!str_empty(life) && !is_ours(slot->job->worker, life) && !PLANTED(60))
            note_ended(slot, life);
}

void ledger_note_resent(struct slot *slot, const struct attempt *attempt)
{
    struct attempt *note = PLANTED(61) ? NULL : add_note(slot);
    if (!note)
        return;
    struct worker *worker = slot->job->worker;
    char run_id[UUID_TEXT_LEN + 1];
    rand_uuid7(loop_rand(worker->loop), loop_wall_ms(worker->loop), run_id);
    note->run_id = arena_str(&slot->job->arena, str_of(run_id));
    note->call_id = attempt->call_id;
    note->number = attempt->number;
    note->model = attempt->model;
    note->provider = attempt->provider;
    note->started_at = attempt->started_at;
    note->error_message = STR("the connection was closed without a byte of an answer, and the call"
                              " was sent once more: the first one may have been paid");
    metric_add(METRIC_calls_ambiguous_total, 1);
}

struct attempt *ledger_attempts(struct slot *slot, size_t *ret_count)
{
    unsigned count = slot->attempt;
    if (slot->hedge && PLANTED(66))
        count--;
    *ret_count = slot->note_count + count;
    if (slot->note_count == 0)
        return slot->attempts;
    struct attempt *all = arena_array(&slot->job->arena, struct attempt, *ret_count);
    memcpy(all, slot->notes, slot->note_count * sizeof(*all));
    if (count)
        memcpy(all + slot->note_count, slot->attempts, count * sizeof(*all));
    return all;
}

/* ---- calls without a part ---- */

static void try(void *context);

static void again_later(struct telling *t)
{
    struct ledger *ledger = t->ledger;
    if (++t->tries >= TRIES_MAX) {
        lose(ledger, "Kafka did not take them");
        telling_free(t);
        return;
    }
    timer_set(ledger->worker->loop, &t->timer, loop_now_ms(ledger->worker->loop) + PAUSE_MS, try,
              t);
}

static void told(const struct err *err, void *context)
{
    struct telling *t = context;
    t->under_way = false;
    if (err && err->code != ERR_TOO_BIG) {
        again_later(t);
        return;
    }
    if (err)
        lose(t->ledger, err->text);
    telling_free(t);
}

static void try(void *context)
{
    struct telling *t = context;
    struct worker *worker = t->ledger->worker;
    const struct kafka_header header = {STR(HEADER_CONTENT_TYPE), STR("application/msgpack")};
    const struct kafka_produce record = {.topic = worker->topic_results,
                                         .key = str_from(t->key, t->key_len),
                                         .value = buf_str(&t->packed),
                                         .headers = &header,
                                         .header_count = 1,
                                         .done = told,
                                         .context = t};
    t->under_way = kafka_produce(worker->producer, &record);
    if (!t->under_way)
        again_later(t);
}

static void fill(struct slot *slot, struct result *result)
{
    struct job *job = slot->job;
    slot_result(slot, result);
    result->status = STR("calls");
    result->attempts.items = ledger_attempts(slot, &result->attempts.count);
    result->request.user = job->request.user;
    result->request.created_at = job->created_at;
    result->request.metadata = job->request.metadata;
}

static void send(struct ledger *ledger, const struct result *result, struct str claim)
{
    struct telling *t = xzalloc(sizeof(*t) + result->request_id.len + 1);
    t->ledger = ledger;
    t->key_len = result->request_id.len;
    memcpy(t->key, result->request_id.data, t->key_len);
    buf_init(&t->packed, (size_t)ledger->worker->conf->shared.message_bytes_max);
    contract_write(&contract_result, result, ENCODING_MSGPACK, &t->packed);
    if (claim.data)
        t->claim = str_from(xstrndup(claim), claim.len);
    list_append(&ledger->telling, &t->node);
    try(t);
}

void ledger_tell(struct slot *slot)
{
    struct ledger *ledger = slot->job->worker->ledger;
    struct result result;
    struct err why;
    if (slot->told || slot->note_count + slot->attempt == 0 || PLANTED(59))
        return;
    slot->told = true;
    fill(slot, &result);
    if (!contract_check(&contract_result, &result, &why))
        lose(ledger, why.text);
    else if (ledger->telling.count >= TELLING_MAX)
        lose(ledger, "too many wait for Kafka");
    else
        send(ledger, &result, slot->job->worker->hold_claim(slot));
}

void ledger_tell_so_far(struct slot *slot)
{
    must(!slot->calling);
    ledger_tell(slot);
    slot->told = false;
    slot->calls_before += slot->attempt;
    slot->attempt = 0;
    slot->note_count = 0;
}

void ledger_cancel(struct slot *slot)
{
    struct worker *worker = slot->job->worker;
    if (slot->hedge)
        ledger_cancel(slot->hedge);
    if (!slot->calling)
        return;
    struct attempt *attempt = slot->row;
    attempt->outcome = STR("cancelled");
    attempt->error_code = str_of(err_name(ERR_CANCELLED));
    attempt->error_message = STR("the worker left before the answer was there");
    attempt->latency_ms = loop_now_ms(worker->loop) - slot->call_started_ms;
}
