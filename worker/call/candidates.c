/*
 * candidates.c -- see candidates.h.
 */
#include "worker/call/candidates.h"

#include <math.h>

#include "common/base/must.h"
#include "common/base/rand.h"
#include "worker/call/keyring.h"

enum { BYTES_PER_TOKEN = 4, OUTPUT_TOKENS = 256 };

struct candidate *candidate_now(const struct slot *slot)
{
    return &slot->candidates[slot->candidate];
}

bool candidate_usable(const struct slot *slot, const struct candidate *candidate)
{
    return !candidate->out && candidate->part == slot->part;
}

/* ---- what is known of the models, and of the request ---- */

/* A window holds each text by itself. */
static int64_t longest_input(const struct prompt *prompt)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < prompt->input_count; i++)
        if (prompt->inputs[i].text.len > bytes)
            bytes = prompt->inputs[i].text.len;
    return (int64_t)(bytes / BYTES_PER_TOKEN);
}

/* Only texts: an image counts by its size on the screen, which nobody here knows. */
static int64_t tokens_of(const struct slot *slot)
{
    if (slot->prompt.inputs)
        return longest_input(&slot->prompt);
    const struct value *messages = slot->prompt.messages;
    const struct params *params = slot->prompt.params;
    size_t bytes = 0;
    for (uint32_t i = 0; i < messages->count; i++) {
        const struct value *content = value_get(&messages->items[i], STR("content"));
        if (content && content->kind == VALUE_STR)
            bytes += content->text.len;
        for (uint32_t k = 0; content && content->kind == VALUE_LIST && k < content->count; k++)
            bytes += value_get_str(&content->items[k], "text").len;
    }
    return (int64_t)(bytes / BYTES_PER_TOKEN) +
           (params->max_tokens != INT_ABSENT ? params->max_tokens : 0);
}

/* The time the request gives itself; 0: it does not say. */
static int64_t budget_ms(const struct job *job)
{
    const struct request *request = &job->request;
    if (request->max_latency_ms != INT_ABSENT)
        return request->max_latency_ms;
    if (request->deadline_ms == INT_ABSENT)
        return 0;
    int64_t left = job->deadline_ms - loop_now_ms(job->worker->loop);
    return left > 1 ? left : 1;
}

static double cost_of(const struct model *model, const struct route_ask *ask, int64_t output)
{
    if (isnan(model->price.input) || isnan(model->price.output))
        return model->local ? 0 : NAN;
    return (double)ask->tokens * model->price.input + (double)output * model->price.output;
}

static void facts_of(const struct route_model *given, const struct route_ask *ask, int64_t output,
                     int64_t now_ms, struct route_facts *ret)
{
    const struct model *model = given->model;
    *ret = (struct route_facts){
        .local = model->local,
        .no_key = model->lacks_key || keys_all_refused(model->keys, now_ms),
        .away = gate_away(model->gate),
        .stale = latency_stale(model->latency, now_ms),
        .context_tokens = model->context_tokens,
        .weight = given->weight,
        .latency_ms = model_latency_ms(model),
        .cost = cost_of(model, ask, output),
    };
}

/* ---- calls that only tried ---- */

enum {
    PROBES_STEP = 8,
    ROWS_MANY = 40,    /* the result has room for a few more, and for some notes */
    PROBES_QUICK = 20, /* that are made as soon as the gate lets them */
    PROBE_PAUSE_MS = 5000
};

static unsigned probes_of(const struct slot *slot)
{
    unsigned probes = 0;
    for (unsigned i = 0; i < slot->candidate_count; i++)
        probes += slot->candidates[i].probes;
    return probes;
}

/* In an outage of minutes those who wait take turns in trying, about once a second: with three or
 * four attempts they would fail of that alone, though they were told to wait. */
void candidate_probed(struct slot *slot, struct candidate *candidate)
{
    if (probes_of(slot) % PROBES_STEP == 0) {
        unsigned room = slot->attempts_room + PROBES_STEP;
        struct attempt *more =
            arena_array(&slot->job->arena, struct attempt, candidate_rows(slot, room));
        memcpy(more, slot->attempts, slot->attempt * sizeof(*more));
        slot->row = &more[slot->row - slot->attempts];
        slot->attempts = more;
        slot->attempts_room = room;
    }
    candidate->probes++;
    if (slot->attempt >= ROWS_MANY)
        ledger_tell_so_far(slot);
}

int64_t candidate_probe_pause_ms(const struct candidate *candidate)
{
    return candidate->probes > PROBES_QUICK ? PROBE_PAUSE_MS : 0;
}

static unsigned tries_left(const struct slot *slot)
{
    unsigned left = 0;
    for (unsigned i = 0; i < slot->candidate_count; i++) {
        const struct candidate *c = &slot->candidates[i];
        if (!c->out && candidate_tries(c) < c->model->attempts_max)
            left += c->model->attempts_max - candidate_tries(c);
    }
    return left < SLOT_ATTEMPTS_MAX ? left : SLOT_ATTEMPTS_MAX;
}

void candidate_probed_before(struct slot *slot)
{
    unsigned steps = (probes_of(slot) + PROBES_STEP - 1) / PROBES_STEP;
    slot->attempts_room += steps * PROBES_STEP;
    /* Second calls of a hedge were no attempts, but they are among the calls before. */
    unsigned room = slot->calls_before + tries_left(slot);
    if (slot->attempts_room < room)
        slot->attempts_room = room;
}

/* ---- the list ---- */

static void add(struct slot *slot, const struct model *model, enum route_part part)
{
    slot->candidates[slot->candidate_count++] = (struct candidate){.model = model, .part = part};
    slot->attempts_room += model->attempts_max + (unsigned)model->keys->count - 1;
    if (slot->attempts_room > SLOT_ATTEMPTS_MAX)
        slot->attempts_room = SLOT_ATTEMPTS_MAX;
}

static void add_part(struct slot *slot, const struct route *route, enum route_part part,
                     const struct route_ask *ask)
{
    static const struct route_rule as_written = {.policy = ROUTE_ORDERED};
    const struct params *params = slot->prompt.params;
    int64_t output = params->max_tokens != INT_ABSENT ? params->max_tokens : OUTPUT_TOKENS;
    struct route_facts facts[ROUTE_CANDIDATES_MAX] = {0};
    unsigned order[ROUTE_CANDIDATES_MAX];
    size_t count = route->counts[part];
    must(count <= ROUTE_CANDIDATES_MAX);
    for (size_t i = 0; i < count; i++)
        facts_of(&route->models[part][i], ask, output, loop_now_ms(slot->job->worker->loop),
                 &facts[i]);
    size_t fit =
        route_order(part == ROUTE_MAIN ? &route->rule : &as_written, facts, count, ask, order);
    /* It is an estimate: the largest window is better than none. */
    if (!fit && count && (part == ROUTE_CONTEXT || !route->counts[ROUTE_CONTEXT]))
        order[fit++] = (unsigned)route_largest(facts, count);
    for (size_t i = 0; i < fit; i++)
        add(slot, route->models[part][order[i]].model, part);
}

static void make_list(struct slot *slot)
{
    struct job *job = slot->job;
    const struct route *route = job->route ? job->route : slot->model->fallback;
    size_t count = 1;
    for (int part = 0; route && part < ROUTE_PARTS; part++)
        count += route->counts[part];
    slot->candidates = arena_array(&job->arena, struct candidate, count);
    if (!route) {
        add(slot, slot->model, ROUTE_MAIN);
        return;
    }
    const struct route_ask ask = {.tokens = tokens_of(slot),
                                  .budget_ms = budget_ms(job),
                                  .random = rand_u64(loop_rand(job->worker->loop))};
    for (enum route_part part = ROUTE_MAIN; part < ROUTE_PARTS; part++)
        add_part(slot, route, part, &ask);
    latency_ask(slot->candidates[0].model->latency, loop_now_ms(job->worker->loop));
    slot->part = slot->candidates[0].part; /* context: what the others have is too small */
}

bool candidate_take(struct slot *slot, struct candidate *c, int key, struct err *err)
{
    struct job *job = slot->job;
    slot->candidate = (unsigned)(c - slot->candidates);
    slot->model = c->model;
    slot->prompt.stream =
        !slot->prompt.inputs && model_streams(c->model, job->batch && !job->request.stream);
    if (!c->request) {
        struct provider_request *request = arena_alloc(&job->arena, sizeof(*request));
        if (!provider_encode(c->model->provider, &c->model->dialect, &slot->prompt, &job->arena,
                             request, err) ||
            job_overflowed(job, err)) {
            c->out = true;
            c->why = err->code;
            return false;
        }
        c->request = request;
    }
    slot->request =
        keyring_request(c->request, c->model->secrets[0], c->model->secrets[key], &job->arena);
    slot->key = key;
    slot->place.needs_token = c->needs_token;
    slot->quota = c->model->quotas[key];
    return true;
}

void call_choose(struct slot *slot)
{
    intake_arrived(slot->job);
    if (!slot->candidates) {
        make_list(slot);
        call_recall(slot);
    }
    if (candidate_usable(slot, candidate_now(slot)) &&
        candidate_take(slot, candidate_now(slot), 0, &slot->err))
        return;
    /* A prompt that one form cannot say another may. */
    for (unsigned i = 0; i < slot->candidate_count && slot->err.code != ERR_TOO_BIG; i++) {
        struct candidate *c = &slot->candidates[i];
        if (!candidate_usable(slot, c))
            continue;
        err_clear(&slot->err);
        if (candidate_take(slot, c, 0, &slot->err))
            return;
    }
}
