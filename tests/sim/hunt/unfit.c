/*
 * unfit.c -- see unfit.h. To add a way to be wrong: its row in `forms`.
 */
#include "tests/sim/hunt/unfit.h"

#include <string.h>

#include "tests/sim/hunt/check.h"

enum { FIRST_NUMBER = 200, FEW = 2, MORE = 5 };

#define TEN(text) text text text text text text text text text text
#define NESTED(bracket)                                                                            \
    TEN(bracket) TEN(bracket) TEN(bracket) TEN(bracket) TEN(bracket) TEN(bracket) TEN(bracket)

static const struct form {
    const char *name, *fields, *code;
    bool no_reply_to; /* it names none that may be used */
    bool nobody;      /* its bytes say nothing at all: only the event's id is left */
} forms[] = {
    {"a number for its input", "\"input\":17", .code = "invalid_request"},
    {"too hot", "\"input\":\"x\",\"params\":{\"temperature\":99}", .code = "invalid_request"},
    {"no messages", "\"messages\":[]", .code = "invalid_request"},
    {"bytes that are no text", "\"input\":\"\xff\"", .code = "invalid_encoding"},
    {"nested too deep", "\"messages\":" NESTED("[") NESTED("]"), .code = "too_deep"},
    {"a reply_to elsewhere", "\"input\":\"x\",\"reply_to\":\"other.topic\"",
     .code = "reply_to_forbidden", .no_reply_to = true},
    {"cut", "\"input\":\"x", .code = "invalid_encoding", .no_reply_to = true, .nobody = true},
};

enum { FORMS = sizeof(forms) / sizeof(forms[0]) };

void unfit_draw(struct schedule *s)
{
    struct rand rand;
    rand_init(&rand, s->seed ^ 0x756e666974ULL);
    if (below(&rand, 2) || s->burst || s->hedge.on || s->stall.on || s->route.calm ||
        s->put_off.calm || s->room.calm)
        return;
    int count = FEW + below(&rand, MORE);
    for (int i = 0; i < count; i++) {
        struct ask ask = {.sort = SORT_UNFIT,
                          .number = FIRST_NUMBER + i,
                          .unfit = below(&rand, FORMS),
                          .session = below(&rand, 2) ? -1 : below(&rand, s->sessions)};
        if (forms[ask.unfit].nobody)
            ask.session = -1;
        if (s->seed % 3 == 1 && ask.session >= 0) /* a session is one tenant's: schedule.c */
            ask.tenant = ask.session % TENANTS;
        schedule_add(s, ITEM_ASK, below(&rand, (int)s->end_ms))->ask = ask;
    }
}

const char *unfit_name(const struct ask *ask)
{
    return forms[ask->unfit].name;
}

void unfit_write(const struct ask *ask, struct buf *ret)
{
    const struct form *form = &forms[ask->unfit];
    buf_printf(ret, "{\"id\":\"r%d\",\"metadata\":{\"of\":\"r%d\"},", ask->number, ask->number);
    if (!form->no_reply_to)
        buf_printf(ret, "\"reply_to\":\"quern.replies.shop\",");
    if (tenant_of(ask->tenant))
        buf_printf(ret, "\"tenant\":\"%s\",", tenant_of(ask->tenant));
    if (ask->session >= 0)
        buf_printf(ret, "\"session\":\"s%d\",", ask->session);
    buf_printf(ret, "%s%s", form->fields, form->nobody ? "" : "}");
}

const char *const *unfit_headers(const struct ask *ask)
{
    static const char *headers[ITEMS_MAX][3];
    headers[ask->number][0] = "ce_id";
    headers[ask->number][1] = request_id(ask->number);
    return forms[ask->unfit].nobody ? headers[ask->number] : NULL;
}

/* ---- what must hold ---- */

/* With the bytes and the headers it came with. */
static bool is_buried_whole(struct play *play, const struct published *p)
{
    const char *const *headers = unfit_headers(p->ask);
    struct buf body;
    bool found = false;
    buf_init(&body, 4096);
    unfit_write(p->ask, &body);
    for (size_t i = 0; i < sim_dead_count(play->sim) && !found; i++) {
        struct sim_dead dead = sim_dead(play->sim, i);
        found = str_is(dead.id, request_id(p->ask->number)) &&
                str_is(dead.code, forms[p->ask->unfit].code) &&
                str_eq(dead.value, buf_str(&body)) && dead.offset == p->place.offset &&
                (!headers || str_is(sim_dead_header(play->sim, i, headers[0]), headers[1]));
    }
    buf_done(&body);
    return found;
}

static void check_reply(struct play *play, const struct published *p, size_t index)
{
    const struct form *form = &forms[p->ask->unfit];
    const struct reply *reply = sim_reply_at(play->sim, index);
    const char *id = request_id(p->ask->number), *topic = sim_reply_topic(play->sim, index);
    char session[16] = "";
    if (p->ask->session >= 0)
        snprintf(session, sizeof(session), "s%d", p->ask->session);
    if (!str_is(reply->error.code, form->code))
        play_find(play, "I14 %s (%s): refused as " STR_FMT, id, form->name,
                  STR_ARG(reply->error.code));
    if (strcmp(topic, form->no_reply_to ? "quern.replies" : "quern.replies.shop") != 0)
        play_find(play, "I14 %s (%s): its reply went to %s", id, form->name, topic);
    if (!str_is(reply->session, session) ||
        !str_is(value_get_str(reply->metadata, "of"), form->nobody ? "" : id))
        play_find(play, "I14 %s (%s): its reply does not say whose it is", id, form->name);
}

void check_unfit(struct play *play)
{
    for (size_t i = 0; i < play->published_count; i++) {
        const struct published *p = &play->published[i];
        if (p->ask->sort != SORT_UNFIT)
            continue;
        if (!is_buried_whole(play, p))
            play_find(play, "I14 r%d (%s): not among the dead letters as it came", p->ask->number,
                      unfit_name(p->ask));
        for (size_t k = 0; k < sim_replies(play->sim); k++)
            if (str_is(sim_reply_at(play->sim, k)->request_id, request_id(p->ask->number)))
                check_reply(play, p, k);
    }
}
