/*
 * play.c -- the world of a schedule and what happens in it.
 *
 * Time is cut into pieces by what the schedule wants to happen; between them, after every step of
 * the simulation, `watch` looks at new commits and brings dead processes back when it is time, as a
 * supervisor would. When the schedule is over all that is broken is mended, and the fleet has an
 * hour to finish.
 */
#include "tests/sim/hunt/play.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/must.h"
#include "tests/sim/hunt/check.h"
#include "tests/sim/hunt/hedges.h"
#include "tests/sim/hunt/put_off.h"
#include "tests/sim/hunt/rooms.h"
#include "tests/sim/hunt/routes.h"
#include "tests/sim/hunt/stalls.h"
#include "tests/sim/hunt/unfit.h"

enum { BACK_MS = 120, REPLIES_MAX = 24, SETTLE_MS = 3600 * 1000, FREEZE_GRACE_MS = 1500 };
/* The longest call; until its row is in the store; when its record got lost on the way. */
enum { CALLS_MS = 130000, TOLD_MS = 3000, TOLD_AGAIN_MS = 45000 };

void play_find(struct play *play, const char *format, ...)
{
    va_list args;
    char line[400];
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    buf_printf(&play->findings, "%s\n", line);
    play->finding_count++;
}

const char *request_id(int number)
{
    static char ids[ITEMS_MAX][8];
    must(number >= 0 && number < ITEMS_MAX);
    if (!ids[number][0])
        snprintf(ids[number], sizeof(ids[number]), "r%d", number);
    return ids[number];
}

/* ---- publishing ---- */

/* The request whose body a later one repeats; NULL: it is left out. */
static const struct ask *first_of(const struct schedule *schedule, int number)
{
    for (size_t i = 0; i < schedule->count; i++) {
        const struct item *item = &schedule->items[i];
        if (item->kind == ITEM_ASK && !item->off && item->ask.number == number &&
            item->ask.sort != SORT_AGAIN && item->ask.sort != SORT_OTHER_BODY)
            return &item->ask;
    }
    return NULL;
}

/* A quarter of what belongs to no session, and nobody reads along, is texts to be embedded; where
 * there is a budget the checker counts it in calls, which have to cost the same. */
static bool embeds(const struct schedule *schedule, const struct ask *ask)
{
    return ask->session < 0 && !ask->reads && ask->number % 4 == 3 && !check_has_budget(schedule);
}

static void write_body(const struct schedule *schedule, const struct ask *ask, bool other,
                       struct buf *ret)
{
    const char *word = other ? "other" : "say";
    struct str names = str_of(ask->sort == SORT_NO_MODEL ? "nobody" : models_of(ask->models)), name;
    buf_printf(ret, "{\"id\":\"r%d\",", ask->number);
    if (embeds(schedule, ask))
        buf_printf(ret, "\"kind\":\"embed\",\"input\":[\"%s %d\",\"and %d\"]", word, ask->number,
                   ask->number);
    else
        buf_printf(ret, "\"input\":\"%s %d\"", word, ask->number);
    if (tenant_of(ask->tenant))
        buf_printf(ret, ",\"tenant\":\"%s\"", tenant_of(ask->tenant));
    if (ask->session >= 0)
        buf_printf(ret, ",\"session\":\"s%d\"", ask->session);
    if (ask->models == ROUTE_ROW) {
        buf_printf(ret, ",\"route\":\"" STR_FMT "\"", STR_ARG(names));
    } else {
        for (const char *comma = ",\"models\":["; str_split(&names, ',', &name); comma = ",")
            buf_printf(ret, "%s\"" STR_FMT "\"", comma, STR_ARG(name));
        buf_add_char(ret, ']');
    }
    if (ask->first)
        buf_printf(ret, ",\"merge\":{\"policy\":\"first\"}");
    if (ask->reads)
        buf_printf(ret, ",\"stream\":true");
    if (ask->sort == SORT_LATE)
        buf_printf(ret, ",\"created_at\":1600000000000,\"deadline_ms\":1000");
    if (ask->sort == SORT_HASTY)
        buf_printf(ret, ",\"deadline_ms\":1500");
    buf_add_char(ret, '}');
}

static void publish(struct play *play, const struct ask *ask)
{
    const struct ask *first = first_of(play->schedule, ask->number);
    struct buf body;
    char key[8];
    if (!first || (first->sort == SORT_GARBAGE && first != ask))
        return;
    buf_init(&body, 4096);
    if (ask->sort == SORT_GARBAGE)
        buf_printf(&body, "{\"id\": %d", ask->number);
    else if (ask->sort == SORT_UNFIT)
        unfit_write(ask, &body);
    else
        write_body(play->schedule, first, ask->sort == SORT_OTHER_BODY, &body);
    snprintf(key, sizeof(key), "s%d", first->session);
    struct published *p = &play->published[play->published_count++];
    p->ask = ask;
    p->body = first;
    p->at_ms = sim_now_ms(play->sim);
    p->place = sim_publish(
        play->sim,
        (struct sim_request){.id = request_id(ask->number),
                             .session = first->session >= 0 ? key : NULL,
                             .headers = ask->sort == SORT_UNFIT ? unfit_headers(ask) : NULL,
                             .raw = body.data,
                             .raw_len = body.len});
    buf_done(&body);
}

/* ---- processes ---- */

static void absent(struct play *play, struct absence absence)
{
    if (play->absence_count < ENDS_MAX)
        play->absences[play->absence_count++] = absence;
}

static void start_unit(struct play *play, size_t i)
{
    play->units[i].process = play->units[i].aggregator
                                 ? sim_aggregator(play->sim, play->units[i].name)
                                 : sim_worker(play->sim, play->units[i].name);
    play->units[i].back_ms = 0;
    play->units[i].back_after_ms = BACK_MS;
}

static void supervise(struct play *play)
{
    int64_t now = sim_now_ms(play->sim);
    for (size_t i = 0; i < play->unit_count; i++) {
        if (sim_running(play->units[i].process))
            continue;
        if (!play->units[i].back_ms) {
            play->units[i].back_ms = now + play->units[i].back_after_ms;
            absent(play, (struct absence){.name = play->units[i].name,
                                          .from_ms = now,
                                          .to_ms = play->units[i].back_ms,
                                          .own_will = sim_exit_code(play->units[i].process) == 0,
                                          .drained = sim_drained(play->units[i].process)});
        }
        if (now >= play->units[i].back_ms)
            start_unit(play, i);
    }
}

static bool watch(struct sim *sim, void *context)
{
    (void)sim;
    check_commits(context);
    check_bounds(context);
    supervise(context);
    return false;
}

static void run_to(struct play *play, int64_t at_ms)
{
    /* In small pieces, for a process may have to come back while nothing else happens. */
    for (int64_t now; (now = sim_now_ms(play->sim)) < at_ms;)
        sim_run_until(play->sim, watch, play, at_ms - now < 50 ? at_ms - now : 50);
}

/* ---- events ---- */

static size_t unit_of(const struct play *play, const struct event *event, bool aggregator)
{
    int count = aggregator ? play->schedule->aggregators : play->schedule->workers;
    return (size_t)((aggregator ? play->schedule->workers : 0) + event->who % count);
}

static void end_unit(struct play *play, const struct event *event, bool aggregator, bool kill)
{
    size_t i = unit_of(play, event, aggregator);
    struct sim_process *process = play->units[i].process;
    if (!sim_running(process) || (!kill && sim_draining(process)))
        return;
    play->units[i].back_after_ms = event->for_ms;
    if (kill)
        sim_kill(process);
    else
        sim_term(process);
    supervise(play);
}

static void freeze_unit(struct play *play, const struct event *event, bool aggregator,
                        void (*freeze)(struct sim_process *process, int64_t ms))
{
    size_t i = unit_of(play, event, aggregator);
    int64_t now = sim_now_ms(play->sim);
    if (!sim_running(play->units[i].process))
        return;
    freeze(play->units[i].process, event->for_ms);
    absent(play, (struct absence){.name = play->units[i].name,
                                  .from_ms = now,
                                  .to_ms = now + event->for_ms + FREEZE_GRACE_MS});
}

static void lose_unit(struct play *play, const struct event *event, bool aggregator)
{
    size_t i = unit_of(play, event, aggregator);
    int64_t now = sim_now_ms(play->sim);
    if (!sim_running(play->units[i].process))
        return;
    sim_lose(play->units[i].process);
    absent(play, (struct absence){
                     .name = play->units[i].name, .from_ms = now, .to_ms = now + 1, .lost = true});
}

/* As `quern cancel` does it. */
static void cancel(struct play *play, const struct event *event)
{
    char key[64], message[64];
    if (!play->published_count)
        return;
    const struct ask *ask = play->published[(size_t)event->who % play->published_count].body;
    const char *tenant = tenant_of(ask->tenant) ? tenant_of(ask->tenant) : "default";
    snprintf(key, sizeof(key), "quern:cancelled:{%s:%s}", tenant, request_id(ask->number));
    snprintf(message, sizeof(message), "%s\x1f%s", tenant, request_id(ask->number));
    sim_redis(play->sim, (const char *const[]){"SET", key, "1", NULL});
    sim_redis(play->sim, (const char *const[]){"PUBLISH", "quern:cancel", message, NULL});
    play->cancels[play->cancel_count].number = ask->number;
    play->cancels[play->cancel_count++].at_ms = sim_now_ms(play->sim);
}

static void happen(struct play *play, const struct event *event, bool begins)
{
    struct sim *sim = play->sim;
    switch (event->kind) {
    case EVENT_KILL_WORKER:
    case EVENT_KILL_AGGREGATOR:
        if (begins)
            end_unit(play, event, event->kind == EVENT_KILL_AGGREGATOR, true);
        break;
    case EVENT_TERM_WORKER:
    case EVENT_TERM_AGGREGATOR:
        if (begins)
            end_unit(play, event, event->kind == EVENT_TERM_AGGREGATOR, false);
        break;
    case EVENT_FREEZE_WORKER:
    case EVENT_FREEZE_AGGREGATOR:
        if (begins)
            freeze_unit(play, event, event->kind == EVENT_FREEZE_AGGREGATOR, sim_freeze);
        break;
    case EVENT_FREEZE_CALLER:
        if (begins)
            freeze_unit(play, event, false, sim_freeze_at_call);
        break;
    case EVENT_LOSE_WORKER:
    case EVENT_LOSE_AGGREGATOR:
        if (begins)
            lose_unit(play, event, event->kind == EVENT_LOSE_AGGREGATOR);
        break;
    case EVENT_REBALANCE:
        if (begins)
            sim_rebalance(sim);
        break;
    case EVENT_REDIS_DOWN:
        sim_redis_down(sim, begins);
        break;
    case EVENT_REDIS_FLUSH:
        if (begins)
            sim_redis_flush(sim);
        break;
    case EVENT_REDIS_DEAF:
        sim_redis_deaf(sim, begins);
        break;
    case EVENT_POSTGRES_DOWN:
        sim_postgres_down(sim, begins);
        break;
    case EVENT_POSTGRES_SLOW:
        sim_postgres_latency_ms(sim, begins ? 400 : 0);
        break;
    case EVENT_KAFKA_DOWN:
        sim_kafka_down(sim, begins);
        break;
    case EVENT_COMMITS_FAIL:
        sim_commits_fail(sim, begins ? 3 : 0);
        break;
    case EVENT_PROVIDER_DOWN:
        sim_provider_down(sim, provider_of(event->who), begins);
        break;
    case EVENT_RELOAD: {
        struct sim_process *worker = play->units[unit_of(play, event, false)].process;
        if (begins && sim_running(worker) && !sim_draining(worker))
            sim_reload(worker);
        break;
    }
    case EVENT_CANCEL:
        if (begins)
            cancel(play, event);
        break;
    case EVENT_KINDS:
        break;
    }
}

static void mend(struct play *play)
{
    static const enum event_kind lasting[] = {EVENT_REDIS_DOWN,    EVENT_REDIS_DEAF,
                                              EVENT_POSTGRES_DOWN, EVENT_POSTGRES_SLOW,
                                              EVENT_KAFKA_DOWN,    EVENT_COMMITS_FAIL};
    for (size_t i = 0; i < sizeof(lasting) / sizeof(lasting[0]); i++)
        happen(play, &(struct event){.kind = lasting[i]}, false);
    for (int i = 0; i < PROVIDERS; i++)
        sim_provider_down(play->sim, provider_of(i), false);
}

/* ---- the whole ---- */

static void script_providers(struct play *play)
{
    struct sim_reply replies[PROVIDERS][REPLIES_MAX];
    const struct schedule *s = play->schedule;
    for (int p = 0; p < PROVIDERS; p++)
        for (int i = 0; i < REPLIES_MAX; i++)
            replies[p][i] = (struct sim_reply){.after_ms = 20 + 30 * p};
    for (size_t i = 0; i < s->count; i++)
        if (s->items[i].kind == ITEM_REPLY && !s->items[i].off)
            replies[s->items[i].reply.provider][s->items[i].reply.nth] = s->items[i].reply.reply;
    for (int p = 0; p < PROVIDERS; p++)
        for (int i = 0; i < REPLIES_MAX; i++)
            sim_provider(play->sim, provider_of(p), replies[p][i]);
}

/* An answer has ten tokens in and five out. */
static void give_prices(struct sim *sim)
{
    char key[64], number[24];
    for (int p = 0; p < PROVIDERS; p++) {
        snprintf(key, sizeof(key), "models.%s.price_input", provider_of(p));
        snprintf(number, sizeof(number), "%d", CHECK_CALL_MICROUSD / 20);
        sim_set(sim, key, number);
        snprintf(key, sizeof(key), "models.%s.price_output", provider_of(p));
        snprintf(number, sizeof(number), "%d", CHECK_CALL_MICROUSD / 10);
        sim_set(sim, key, number);
        snprintf(key, sizeof(key), "models.%s.max_tokens", provider_of(p));
        sim_set(sim, key, "5");
    }
    snprintf(number, sizeof(number), "%.6f", CHECK_BUDGET_CALLS * CHECK_CALL_MICROUSD / 1e6);
    sim_set(sim, "tenants.default.budget_day", number);
}

static void build(struct play *play)
{
    static const char *const names[2][WORKERS_MAX] = {{"w1", "w2", "w3"}, {"a1", "a2", "a3"}};
    const struct schedule *s = play->schedule;
    char number[24];
    snprintf(number, sizeof(number), "%d", s->max_in_flight);
    sim_set(play->sim, "worker.max_in_flight", number);
    sim_set(play->sim, "worker.drain_timeout", "1s");
    snprintf(number, sizeof(number), "%d", CHECK_READ_AHEAD);
    sim_set(play->sim, "worker.read_ahead", number);
    sim_set(play->sim, "worker.stub_bytes", s->seed % 3 == 1 ? "1000" : "0");
    if (s->seed % 3 == 2 && !s->burst)
        sim_set(play->sim, "worker.stubs_max", "5");
    snprintf(number, sizeof(number), "%d", CHECK_PARKED_MAX);
    sim_set(play->sim, "worker.parked_max", number);
    if (check_has_limit(s)) {
        snprintf(number, sizeof(number), "%d", CHECK_LIMIT);
        sim_set(play->sim, "models.alpha.requests_per_minute", number);
    }
    if (check_has_tenant_limit(s)) {
        snprintf(number, sizeof(number), "%d", CHECK_TENANT_LIMIT);
        sim_set(play->sim, "tenants.default.requests_per_minute", number);
    }
    if (check_has_budget(s))
        give_prices(play->sim);
    sim_redis_connect_ms(play->sim, s->redis_connect_ms);
    sim_partitions(play->sim, s->partitions);
    script_providers(play);
    routes_build(play);
    hedges_build(play);
    put_off_build(play);
    stalls_build(play);
    rooms_build(play);
    for (size_t i = 0; i < s->count; i++)
        if (s->items[i].kind == ITEM_FAULT && !s->items[i].off)
            sim_fault(play->sim, s->items[i].fault);
    sim_no_aggregator(play->sim); /* none but these */
    for (int i = 0; i < s->aggregators + s->workers; i++) {
        bool aggregator = i >= s->workers;
        size_t at = play->unit_count++;
        play->units[at].name = names[aggregator][aggregator ? i - s->workers : i];
        play->units[at].aggregator = aggregator;
        start_unit(play, at);
    }
}

struct moment {
    int64_t at_ms;
    const struct item *item;
    bool begins;
};

static int by_time(const void *a, const void *b)
{
    const struct moment *x = a, *y = b;
    if (x->at_ms != y->at_ms)
        return x->at_ms < y->at_ms ? -1 : 1;
    return x->item < y->item ? -1 : x->item > y->item;
}

static void act(struct play *play)
{
    const struct schedule *s = play->schedule;
    struct moment moments[2 * ITEMS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < s->count; i++) {
        const struct item *item = &s->items[i];
        if (item->off || (item->kind != ITEM_ASK && item->kind != ITEM_EVENT))
            continue;
        moments[count++] = (struct moment){item->at_ms, item, true};
        if (item->kind == ITEM_EVENT)
            moments[count++] = (struct moment){item->at_ms + item->event.for_ms, item, false};
    }
    qsort(moments, count, sizeof(moments[0]), by_time);
    for (size_t i = 0; i < count; i++) {
        run_to(play, moments[i].at_ms);
        if (moments[i].item->kind == ITEM_ASK)
            publish(play, &moments[i].item->ask);
        else
            happen(play, &moments[i].item->event, moments[i].begins);
    }
    run_to(play, s->end_ms);
    mend(play);
}

static bool settled(struct sim *sim, void *context)
{
    struct play *play = context;
    watch(sim, context);
    play->settled = sim_settled(sim);
    return play->settled;
}

static void settle(struct play *play)
{
    int64_t end_ms = sim_now_ms(play->sim) + SETTLE_MS;
    while (!play->settled && sim_now_ms(play->sim) < end_ms)
        sim_run_until(play->sim, settled, play, 1000);
}

static bool all_told(struct sim *sim, void *context)
{
    watch(sim, context);
    for (size_t i = 0; i < sim_call_count(sim); i++)
        if (sim_call(sim, i)->end_ms < 0)
            return false;
    return true;
}

/* A call that is under way when all is final still has to be paid, and its row has to be there. */
static void pay(struct play *play)
{
    int64_t end_ms = sim_now_ms(play->sim) + CALLS_MS;
    while (!all_told(play->sim, play) && sim_now_ms(play->sim) < end_ms)
        sim_run_until(play->sim, all_told, play, 1000);
    bool lost = schedule_has_fault(play->schedule, SIM_PRODUCE, SIM_WELL) ||
                schedule_has(play->schedule, EVENT_KAFKA_DOWN);
    run_to(play, sim_now_ms(play->sim) + (lost ? TOLD_AGAIN_MS : TOLD_MS));
}

bool play(const struct schedule *schedule, FILE *trace, struct played *ret)
{
    struct play p = {.schedule = schedule, .sim = sim_new(schedule->seed)};
    buf_init(&p.findings, sizeof(ret->text) - 1);
    sim_trace(p.sim, trace);
    build(&p);
    act(&p);
    settle(&p);
    pay(&p);
    check_end(&p);
    *ret = (struct played){.fingerprint = sim_fingerprint(p.sim),
                           .calls = sim_door_calls(p.sim),
                           .findings = p.finding_count};
    for (uint64_t i = 0; i < ret->calls && i < DOORS_SEEN; i++)
        ret->doors[i] = (unsigned char)sim_door_at(p.sim, i + 1);
    memcpy(ret->text, p.findings.data ? p.findings.data : "", p.findings.len);
    buf_done(&p.findings);
    sim_free(p.sim);
    return ret->findings > 0;
}
