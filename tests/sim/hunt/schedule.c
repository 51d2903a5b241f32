/*
 * schedule.c -- schedules are drawn from seeds, and printed.
 */
#include "tests/sim/hunt/schedule.h"

#include <string.h>

#include "common/base/must.h"
#include "tests/sim/hunt/hedges.h"
#include "tests/sim/hunt/put_off.h"
#include "tests/sim/hunt/rooms.h"
#include "tests/sim/hunt/routes.h"
#include "tests/sim/hunt/stalls.h"
#include "tests/sim/hunt/unfit.h"

static const struct {
    const char *name;
    int64_t for_ms_max;
} EVENTS[EVENT_KINDS] = {
    [EVENT_KILL_WORKER] = {"kill worker", 9000},
    [EVENT_KILL_AGGREGATOR] = {"kill aggregator", 9000},
    [EVENT_TERM_WORKER] = {"term worker", 3000},
    [EVENT_TERM_AGGREGATOR] = {"term aggregator", 3000},
    [EVENT_FREEZE_WORKER] = {"freeze worker", 12000},
    [EVENT_FREEZE_AGGREGATOR] = {"freeze aggregator", 12000},
    [EVENT_REBALANCE] = {"rebalance", 0},
    [EVENT_LOSE_WORKER] = {"throw out worker", 0},
    [EVENT_LOSE_AGGREGATOR] = {"throw out aggregator", 0},
    [EVENT_REDIS_DOWN] = {"redis away", 4000},
    [EVENT_REDIS_FLUSH] = {"redis forgets", 0},
    [EVENT_REDIS_DEAF] = {"redis loses messages", 4000},
    [EVENT_POSTGRES_DOWN] = {"postgres away", 4000},
    [EVENT_POSTGRES_SLOW] = {"postgres slow", 4000},
    [EVENT_KAFKA_DOWN] = {"kafka away", 4000},
    [EVENT_COMMITS_FAIL] = {"commits fail", 0},
    [EVENT_PROVIDER_DOWN] = {"provider away", 4000},
    [EVENT_RELOAD] = {"reload worker", 0},
    [EVENT_CANCEL] = {"cancel", 0},
    [EVENT_FREEZE_CALLER] = {"freeze worker at its next call", 12000},
};

static const char *const MODELS[] = {
    "alpha", "beta", "alpha,beta", "beta,alpha,alpha", "gamma", "alpha,beta,gamma", "pair"};
static const char *const TENANT_NAMES[TENANTS] = {NULL, "bulk", "light"};
static const char *const PROVIDER_NAMES[PROVIDERS] = {"alpha", "beta", "gamma"};

const char *models_of(int row)
{
    return MODELS[row];
}

int models_rows(void)
{
    return ROUTE_ROW;
}

const char *tenant_of(int row)
{
    return TENANT_NAMES[row];
}

const char *provider_of(int number)
{
    return PROVIDER_NAMES[number];
}

struct item *schedule_add(struct schedule *schedule, enum item_kind kind, int64_t at_ms)
{
    must(schedule->count < ITEMS_MAX);
    struct item *item = &schedule->items[schedule->count++];
    *item = (struct item){.kind = kind, .at_ms = at_ms};
    return item;
}

void schedule_empty(struct schedule *s)
{
    s->count = 0;
    s->troubles = 0;
    s->redis_connect_ms = 0;
}

void schedule_trouble(struct schedule *s, int64_t from_ms, struct rand *rand)
{
    static const enum event_kind kinds[] = {
        EVENT_KILL_WORKER, EVENT_TERM_WORKER, EVENT_FREEZE_WORKER, EVENT_REBALANCE,
        EVENT_LOSE_WORKER, EVENT_RELOAD,      EVENT_CANCEL,        EVENT_REDIS_DOWN,
    };
    for (int i = 1 + below(rand, 3); i > 0; i--) {
        enum event_kind kind = kinds[below(rand, (int)(sizeof(kinds) / sizeof(kinds[0])))];
        schedule_event(s, from_ms + below(rand, 3000), kind, below(rand, 1000),
                       20 + below(rand, 2000));
    }
}

static enum sort draw_sort(struct rand *rand)
{
    static const enum sort odd[] = {SORT_AGAIN, SORT_AGAIN,   SORT_OTHER_BODY, SORT_NO_MODEL,
                                    SORT_LATE,  SORT_GARBAGE, SORT_HASTY};
    return below(rand, 6) ? SORT_FIT : odd[below(rand, (int)(sizeof(odd) / sizeof(odd[0])))];
}

static void draw_asks(struct schedule *s, struct rand *rand)
{
    int count = 4 + below(rand, 27), turns = below(rand, 4); /* of four, this many are turns */
    bool plain = below(rand, 3) == 0;
    int64_t at_ms = 0;
    for (int i = 0; i < count; i++) {
        at_ms += below(rand, 3) ? 0 : below(rand, 400);
        struct item *item = schedule_add(s, ITEM_ASK, at_ms);
        item->ask = (struct ask){
            .sort = plain ? SORT_FIT : draw_sort(rand),
            .number = i,
            .session = below(rand, 4) < turns ? below(rand, s->sessions) : -1,
            .models = below(rand, models_rows()),
            .first = below(rand, 4) == 0,
        };
        /* A session is one tenant's. */
        if (s->seed % 3 == 1)
            item->ask.tenant = (item->ask.session >= 0 ? item->ask.session : i) % TENANTS;
        if (item->ask.sort == SORT_AGAIN || item->ask.sort == SORT_OTHER_BODY)
            item->ask.number = i ? below(rand, i) : 0;
    }
    s->end_ms = at_ms + 500 + below(rand, 6000);
}

static void draw_events(struct schedule *s, struct rand *rand)
{
    int count = below(rand, 3) ? below(rand, 10) : 0;
    for (int i = 0; i < count && s->troubles; i++) {
        enum event_kind kind = (enum event_kind)below(rand, EVENT_CANCEL);
        struct event event = {.kind = kind, .who = below(rand, WORKERS_MAX)};
        int64_t at_ms = below(rand, (int)s->end_ms);
        event.for_ms = 20 + (below(rand, 3) ? below(rand, (int)EVENTS[kind].for_ms_max / 8 + 1)
                                            : below(rand, (int)EVENTS[kind].for_ms_max + 1));
        if (s->troubles >> kind & 1)
            schedule_add(s, ITEM_EVENT, at_ms)->event = event;
    }
}

static void draw_faults(struct schedule *s, struct rand *rand)
{
    int count = below(rand, 2) ? below(rand, 8) : 0;
    for (int i = 0; i < count; i++) {
        struct sim_fault fault = {.door = (enum sim_door)below(rand, SIM_DOORS),
                                  .nth = 1 + rand_below(rand, 60),
                                  .way = (enum sim_way)(1 + below(rand, SIM_WAYS - 1))};
        if (sim_door_knows(fault.door, fault.way))
            schedule_add(s, ITEM_FAULT, 0)->fault = fault;
    }
}

static void draw_replies(struct schedule *s, struct rand *rand)
{
    static const int statuses[] = {429, 500, 503, 400};
    int count = below(rand, 2) ? below(rand, 14) : 0;
    for (int i = 0; i < count; i++) {
        struct item *item = schedule_add(s, ITEM_REPLY, 0);
        item->reply.provider = below(rand, PROVIDERS);
        item->reply.nth = below(rand, 20);
        item->reply.reply = (struct sim_reply){
            .status = below(rand, 2) ? 200 : statuses[below(rand, 4)],
            .after_ms = 1 + (below(rand, 8) ? below(rand, 300) : below(rand, 20000)),
            .trouble = below(rand, 4) ? SIM_NO_TROUBLE : (enum sim_trouble)below(rand, 4)};
    }
}

static void add_event(struct schedule *s, enum event_kind kind, int64_t at_ms, int who,
                      int64_t for_ms)
{
    schedule_add(s, ITEM_EVENT, at_ms)->event =
        (struct event){.kind = kind, .who = who, .for_ms = for_ms};
}

static void add_replies(struct schedule *s, int provider, int nth, int count, int status,
                        int64_t after_ms)
{
    for (int i = 0; i < count; i++) {
        struct item *item = schedule_add(s, ITEM_REPLY, 0);
        item->reply.provider = provider;
        item->reply.nth = (nth + i) % 20;
        item->reply.reply = (struct sim_reply){.status = status, .after_ms = after_ms};
    }
}

/* A model of two answers, the other does not, and then nobody is there to say so: only the
 * aggregator can keep the deadline. */
static void draw_half_answer(struct schedule *s, struct rand *rand, int64_t at_ms)
{
    schedule_add(s, ITEM_ASK, at_ms)->ask =
        (struct ask){.sort = SORT_HASTY, .number = ITEMS_MAX - 1, .session = -1, .models = 2};
    add_replies(s, 1, 0, 20, 200, 12000);
    for (int who = 0; who < s->workers; who++)
        add_event(s, EVENT_FREEZE_WORKER, at_ms + 400 + below(rand, 500), who, 12000);
}

/* A worker is away for longer than its session, and comes back while those who took its partitions
 * have long calls under way. */
static void draw_return(struct schedule *s, struct rand *rand, int64_t at_ms)
{
    static const int model_of[PROVIDERS] = {0, 1, 4};
    int provider = below(rand, PROVIDERS);
    int64_t away_ms = 7000 + below(rand, 2000);
    add_event(s, EVENT_KILL_WORKER, at_ms, below(rand, WORKERS_MAX), away_ms);
    add_replies(s, provider, 0, 20, 200, 3000 + below(rand, 9000));
    for (int i = 0; i < 6; i++)
        schedule_add(s, ITEM_ASK, at_ms + away_ms - 200 - below(rand, 600))->ask =
            (struct ask){.sort = SORT_FIT,
                         .number = ITEMS_MAX - 2 - i,
                         .session = -1,
                         .models = model_of[provider]};
}

/* Both halves are answered in time, and who has the second stands still until the merge's deadline
 * has passed. */
static void draw_late_half(struct schedule *s, struct rand *rand, int64_t at_ms)
{
    for (int i = 0; i < 3; i++)
        schedule_add(s, ITEM_ASK, at_ms)->ask = (struct ask){
            .sort = SORT_HASTY, .number = ITEMS_MAX - 2 - i, .session = -1, .models = 2};
    add_replies(s, 0, 0, 20, 200, 20);
    add_replies(s, 1, 0, 20, 200, 600 + below(rand, 700));
    for (int who = 0; who < s->workers; who++)
        add_event(s, EVENT_FREEZE_WORKER, at_ms + 100 + below(rand, 500), who,
                  4000 + below(rand, 8000));
}

/* An id comes once more, with its own body or another one, when the first is answered and nobody is
 * there to store it. */
static void draw_two_bodies(struct schedule *s, struct rand *rand, int64_t at_ms)
{
    int64_t away_ms = 2000 + below(rand, 2000);
    for (int i = 0; i < s->aggregators; i++)
        add_event(s, EVENT_KILL_AGGREGATOR, at_ms, i, away_ms);
    for (int i = 0; i < 4; i++) {
        struct ask ask = {.sort = SORT_FIT, .number = ITEMS_MAX - 2 - i, .session = -1};
        schedule_add(s, ITEM_ASK, at_ms + 10)->ask = ask;
        ask.sort = i % 2 ? SORT_AGAIN : SORT_OTHER_BODY;
        schedule_add(s, ITEM_ASK, at_ms + 300 + below(rand, (int)away_ms - 300))->ask = ask;
    }
}

/* Troubles that are nothing by themselves, each at the moment at which the other matters. */
static void draw_knot(struct schedule *s, struct rand *rand)
{
    static const enum event_kind moves[] = {EVENT_REBALANCE, EVENT_LOSE_WORKER, EVENT_KILL_WORKER,
                                            EVENT_TERM_WORKER};
    int64_t at_ms = 20 + below(rand, 1500);
    int provider = below(rand, PROVIDERS), who = below(rand, WORKERS_MAX);
    switch (below(rand, 11)) {
    case 0: /* partitions move while a long call is under way */
    case 1:
        add_replies(s, provider, below(rand, 4), 1 + below(rand, 3), 200, 2500 + below(rand, 9000));
        add_event(s, moves[below(rand, 2)], at_ms, who, 20);
        break;
    case 2: /* a provider is not itself for a while */
        add_replies(s, provider, 0, 8 + below(rand, 12), below(rand, 2) ? 500 : 503, 30);
        break;
    case 3: /* a request is read again, and Redis has forgotten it */
        add_event(s, moves[below(rand, 4)], at_ms, who, 20 + below(rand, 300));
        add_event(s, EVENT_REDIS_FLUSH, at_ms + below(rand, 40) - 20, 0, 20);
        break;
    case 4: /* a worker is told to leave, and there is time for the call under way */
        add_replies(s, provider, below(rand, 3), 1 + below(rand, 3), 200, 200 + below(rand, 600));
        add_event(s, EVENT_TERM_WORKER, at_ms, who, 20 + below(rand, 300));
        break;
    case 5:
        draw_half_answer(s, rand, at_ms);
        break;
    case 6:
        draw_return(s, rand, at_ms);
        break;
    case 7:
        draw_late_half(s, rand, at_ms);
        break;
    case 8:
        draw_two_bodies(s, rand, at_ms);
        break;
    default:
        break;
    }
}

/* Nobody wants the answer to some of them any more. */
static void draw_cancels(struct schedule *s, struct rand *rand)
{
    int count = 1 + below(rand, 4);
    for (int i = 0; i < count; i++)
        schedule_event(s, below(rand, (int)s->end_ms), EVENT_CANCEL, below(rand, 1000), 0);
}

/* A calm world in which one tenant has very many, and another comes behind them. */
static void draw_burst(struct schedule *s, struct rand *rand)
{
    int many = 30 + below(rand, 30), few = 3 + below(rand, 4);
    s->max_in_flight = 1 + below(rand, 4);
    s->redis_connect_ms = 0;
    s->troubles = 0;
    for (int i = 0; i < many + few; i++) {
        bool light = i >= many;
        struct item *item =
            schedule_add(s, ITEM_ASK, light ? 1005 + below(rand, 200) : 1000 + i / 20);
        item->ask = (struct ask){.sort = SORT_FIT,
                                 .number = i,
                                 .session = -1,
                                 .tenant = light ? TENANT_LIGHT : TENANT_BULK};
    }
    s->end_ms = 1500;
}

void schedule_draw(struct schedule *ret, uint64_t seed)
{
    struct rand rand;
    rand_init(&rand, seed);
    memset(ret, 0, sizeof(*ret));
    ret->seed = seed;
    ret->partitions = 1 + below(&rand, 3);
    ret->workers = 1 + below(&rand, WORKERS_MAX);
    ret->aggregators = 1 + below(&rand, AGGREGATORS_MAX);
    ret->sessions = 1 + below(&rand, SESSIONS_MAX);
    ret->max_in_flight = 1 + below(&rand, below(&rand, 2) ? 4 : 40);
    ret->redis_connect_ms = below(&rand, 4) ? 0 : below(&rand, 300);
    for (int kind = 0; kind < EVENT_CANCEL; kind++)
        ret->troubles |= (unsigned)(below(&rand, 3) == 0) << kind;
    ret->burst = seed % 10 == 7;
    if (ret->burst) {
        draw_burst(ret, &rand);
        return;
    }
    draw_asks(ret, &rand);
    draw_events(ret, &rand);
    draw_faults(ret, &rand);
    draw_replies(ret, &rand);
    draw_knot(ret, &rand);
    routes_draw(ret);
    hedges_draw(ret);
    put_off_draw(ret);
    stalls_draw(ret);
    rooms_draw(ret);
    unfit_draw(ret);
    if (seed % 6 == 4)
        draw_cancels(ret, &rand);
}

void schedule_ask(struct schedule *s, int64_t at_ms, int number, int session, int models,
                  bool first)
{
    schedule_add(s, ITEM_ASK, at_ms)->ask =
        (struct ask){.number = number, .session = session, .models = models, .first = first};
}

void schedule_ask_sort(struct schedule *s, int64_t at_ms, int number, int session, enum sort sort)
{
    schedule_add(s, ITEM_ASK, at_ms)->ask =
        (struct ask){.sort = sort, .number = number, .session = session};
}

void schedule_event(struct schedule *s, int64_t at_ms, enum event_kind kind, int who,
                    int64_t for_ms)
{
    schedule_add(s, ITEM_EVENT, at_ms)->event =
        (struct event){.kind = kind, .who = who, .for_ms = for_ms};
}

void schedule_reply(struct schedule *s, int provider, int nth, struct sim_reply reply)
{
    struct item *item = schedule_add(s, ITEM_REPLY, 0);
    item->reply.provider = provider;
    item->reply.nth = nth;
    item->reply.reply = reply;
}

void schedule_fault(struct schedule *s, enum sim_door door, uint64_t nth, enum sim_way way)
{
    schedule_add(s, ITEM_FAULT, 0)->fault = (struct sim_fault){door, nth, way};
}

bool schedule_has(const struct schedule *schedule, enum event_kind kind)
{
    for (size_t i = 0; i < schedule->count; i++) {
        const struct item *item = &schedule->items[i];
        if (!item->off && item->kind == ITEM_EVENT && item->event.kind == kind)
            return true;
    }
    return false;
}

bool schedule_has_fault(const struct schedule *schedule, enum sim_door door, enum sim_way way)
{
    for (size_t i = 0; i < schedule->count; i++) {
        const struct item *item = &schedule->items[i];
        if (item->off || item->kind != ITEM_FAULT)
            continue;
        if ((item->fault.door == door || item->fault.door == SIM_DOORS || door == SIM_DOORS) &&
            (item->fault.way == way || way == SIM_WELL))
            return true;
    }
    return false;
}

static void ask_print(const struct ask *ask, FILE *file)
{
    static const char *const sorts[] = {"",
                                        " once more",
                                        " with another body",
                                        " for no model",
                                        " as garbage",
                                        " too late",
                                        " in a hurry",
                                        " unfit"};
    fprintf(file, "publish r%d%s (%s%s)", ask->number, sorts[ask->sort], models_of(ask->models),
            ask->first ? ", first" : "");
    if (ask->sort == SORT_UNFIT)
        fprintf(file, ", %s", unfit_name(ask));
    if (ask->reads)
        fprintf(file, ", read along");
    if (ask->session >= 0)
        fprintf(file, " in s%d", ask->session);
}

void item_print(const struct item *item, FILE *file)
{
    if (item->kind == ITEM_ASK || item->kind == ITEM_EVENT)
        fprintf(file, "  %6lld ms  ", (long long)item->at_ms);
    else
        fprintf(file, "             ");
    if (item->kind == ITEM_ASK)
        ask_print(&item->ask, file);
    else if (item->kind == ITEM_EVENT)
        fprintf(file, "%s %d for %lld ms", EVENTS[item->event.kind].name, item->event.who,
                (long long)item->event.for_ms);
    else if (item->kind == ITEM_FAULT)
        fprintf(file, "%s call %llu goes '%s'", sim_door_name(item->fault.door),
                (unsigned long long)item->fault.nth, sim_way_name(item->fault.way));
    else
        fprintf(file, "%s answers its call %d with %d after %lld ms, trouble %d",
                provider_of(item->reply.provider), item->reply.nth, item->reply.reply.status,
                (long long)item->reply.reply.after_ms, (int)item->reply.reply.trouble);
    fputc('\n', file);
}

void schedule_print(const struct schedule *s, FILE *file)
{
    size_t left = 0;
    for (size_t i = 0; i < s->count; i++)
        left += !s->items[i].off;
    fprintf(file,
            "  %d partitions, %d workers, %d aggregators, %d in flight; Redis connects in %d ms; "
            "mended after %lld ms; %zu of %zu items:\n",
            s->partitions, s->workers, s->aggregators, s->max_in_flight, s->redis_connect_ms,
            (long long)s->end_ms, left, s->count);
    if (s->route.on)
        fprintf(file, "  route pair: alpha, beta; alpha says %d to all, %d to one key%s\n",
                s->route.status, s->route.refused_key, s->route.calm ? "; else all is calm" : "");
    if (s->hedge.on)
        fprintf(file, "  alpha has %s second calls, %s\n", s->hedge.none ? "no" : "some",
                s->hedge.stream ? "streamed" : "whole");
    for (size_t i = 0; i < s->count; i++)
        if (!s->items[i].off)
            item_print(&s->items[i], file);
}
