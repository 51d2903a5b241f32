/*
 * Goal: whoever sends what cannot be answered is told why, and finds his request again; the dead
 * letter has all that is needed to send it once more; nobody else notices.
 * Method: every bad input in a world of one partition, with a good request behind it. Each says who
 * asks, unless its bytes cannot be walked over: then the event's id in a header has to do.
 */
#include "tests/scene/scene.h"

#define WHO                                                                                        \
    "\"id\":\"bad\",\"user\":\"u1\",\"reply_to\":\"quern.replies.shop\","                          \
    "\"metadata\":{\"order\":\"A-1\"},\"created_at\":1699999999000"
#define SESSION ",\"session\":\"s1\""
#define EVENT   "ce_id", "bad"
#define TRACE   "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

enum { MIB = 1 << 20, REQUEST_BYTES_MAX = 8 * MIB, NESTED = 100000 };

/* Enough of these to fill the middle of a body. */
struct filling {
    char open, close;
    size_t count;
};

struct bad {
    const char *what, *raw;  /* '@' in it: the filling goes there */
    const char *code, *says; /* says: a part of the sentence */
    const char *status;      /* of the final result; NULL: there is none */
    struct filling filling;
    const char *headers[5]; /* of the message */
    bool nobody;            /* who asks is not to be had of it */
    bool no_reply_to, session;
    const char *content_type;
};

static const struct bad bads[] = {
    {"text that is no JSON", "this is no JSON", .code = "invalid_encoding",
     .says = "not valid JSON at byte"},
    {"the same, as an event", "this is no JSON", .code = "invalid_encoding",
     .says = "not valid JSON at byte", .status = "failed", .headers = {EVENT, TRACE},
     .nobody = true},
    {"JSON that was cut", "{" WHO ",\"input\":\"cut of", .code = "invalid_encoding",
     .says = "not valid JSON"},
    {"the same, as an event", "{" WHO ",\"input\":\"cut of", .code = "invalid_encoding",
     .says = "not valid JSON", .status = "failed", .headers = {EVENT}, .nobody = true},
    {"an event whose id is no name", "{", .code = "invalid_encoding", .says = "not valid JSON",
     .headers = {"ce_id", "a\nb"}},
    {"nothing at all", "@", .code = "invalid_encoding", .says = "the message is empty"},
    {"an event of nothing", "@", .code = "invalid_encoding", .says = "the message is empty",
     .status = "failed", .headers = {EVENT}, .nobody = true},
    {"an unknown content type", "<request/>", .code = "invalid_encoding",
     .says = "content-type 'text/xml'", .status = "failed", .headers = {EVENT}, .nobody = true,
     .content_type = "text/xml"},
    {"a list", "[1,2]", .code = "invalid_request", .says = "must be a map"},
    {"a number where text belongs", "{" WHO SESSION ",\"input\":17}", .code = "invalid_request",
     .says = "input must be text", .status = "failed", .session = true},
    {"a text where a list belongs", "{" WHO ",\"input\":\"x\",\"models\":\"alpha\"}",
     .code = "invalid_request", .says = "models must be a list of texts", .status = "failed"},
    {"a number out of bounds", "{" WHO ",\"input\":\"x\",\"params\":{\"temperature\":9}}",
     .code = "invalid_request", .says = "params.temperature must be between 0 and 2, is 9",
     .status = "failed"},
    {"no question", "{" WHO "}", .code = "invalid_request", .says = "there is no question",
     .status = "failed"},
    {"an empty list of messages", "{" WHO ",\"messages\":[]}", .code = "invalid_request",
     .says = "there is no question", .status = "failed"},
    {"an unknown model", "{" WHO SESSION ",\"input\":\"x\",\"models\":[\"gpt-99\"]}",
     .code = "unknown_model", .says = "there is no model 'gpt-99'", .status = "failed",
     .session = true},
    {"no model", "{" WHO ",\"input\":\"x\",\"models\":[]}", .code = "no_model",
     .says = "names no model", .status = "failed"},
    {"an unknown route", "{" WHO ",\"input\":\"x\",\"route\":\"r\"}", .code = "unknown_route",
     .says = "there is no route 'r'", .status = "failed"},
    {"sixteen megabytes", "{" WHO SESSION ",\"input\":\"@\"}", .code = "too_big",
     .says = "bytes, at most 8388608 are taken", .status = "failed", .filling = {'x', 0, 16 * MIB},
     .session = true},
    {"brackets without end", "{" WHO ",\"messages\":@}", .code = "too_deep",
     .says = "nests deeper than 64", .status = "failed", .filling = {'[', ']', NESTED}},
    {"brackets that nobody closes", "@", .code = "invalid_encoding", .says = "not valid JSON",
     .status = "failed", .filling = {'[', 0, NESTED}, .headers = {EVENT}, .nobody = true},
    {"brackets alone", "@", .code = "too_deep", .says = "nests deeper than 64",
     .filling = {'[', ']', NESTED}},
    {"bytes that are no UTF-8", "{" WHO SESSION ",\"input\":\"caf\xe9\"}",
     .code = "invalid_encoding", .says = "not valid JSON at byte", .status = "failed",
     .session = true},
    {"a zero character", "{" WHO ",\"input\":\"a\\u0000b\"}", .code = "invalid_request",
     .says = "U+0000", .status = "failed"},
    {"a reply_to elsewhere",
     "{\"id\":\"bad\",\"user\":\"u1\",\"metadata\":{\"order\":\"A-1\"},"
     "\"created_at\":1699999999000,\"input\":\"x\",\"reply_to\":\"other.topic\"}",
     .code = "reply_to_forbidden", .says = "'other.topic' does not begin with one of",
     .status = "failed", .no_reply_to = true},
    {"a reply_to elsewhere, and no question",
     "{\"id\":\"bad\",\"user\":\"u1\",\"metadata\":{\"order\":\"A-1\"},"
     "\"created_at\":1699999999000,\"input\":17,\"reply_to\":\"other.topic\"}",
     .code = "invalid_request", .says = "input must be text", .status = "failed",
     .no_reply_to = true},
    {"a deadline that has passed",
     "{" WHO SESSION ",\"input\":\"x\",\"models\":[\"alpha\"],\"deadline_ms\":100}",
     .code = "expired", .says = "ms before the request was read", .status = "expired",
     .session = true},
    {"an event in structured mode",
     "{\"specversion\":\"1.0\",\"id\":\"e1\",\"source\":\"/s\",\"type\":\"t\",\"data\":{" WHO
     ",\"input\":\"caf\xe9\"}}",
     .code = "invalid_encoding", .says = "not valid JSON at byte", .status = "failed"},
};

static struct sim *world(uint64_t seed)
{
    struct sim *sim = sim_new(seed);
    sim_partitions(sim, 1);
    sim_provider(sim, "alpha", (struct sim_reply){.after_ms = 10});
    sim_worker(sim, "w1");
    return sim;
}

/* Its bytes; the caller's. */
static struct buf body_of(const struct bad *bad)
{
    const char *at = strchr(bad->raw, '@');
    struct buf body;
    buf_init(&body, 32 * MIB);
    buf_add(&body, bad->raw, at ? (size_t)(at - bad->raw) : strlen(bad->raw));
    for (size_t i = 0; at && i < bad->filling.count; i++)
        buf_add_char(&body, bad->filling.open);
    for (size_t i = 0; at && bad->filling.close && i < bad->filling.count; i++)
        buf_add_char(&body, bad->filling.close);
    if (at)
        buf_add(&body, at + 1, strlen(at + 1));
    return body;
}

static void expect_says(struct str text, const char *part)
{
    if (memmem(text.data, text.len, part, strlen(part)))
        return;
    print_error("\"" STR_FMT "\" does not say \"%s\"\n", STR_ARG(text), part);
    fail();
}

/* ---- what must be there ---- */

/* The bytes, or of too many the first 64 KiB with their number; why, whence, and the headers. */
static void expect_dead(struct sim *sim, const struct bad *bad, struct str body,
                        struct sim_place place)
{
    assert_int_equal(sim_dead_count(sim), 1);
    struct sim_dead dead = sim_dead(sim, 0);
    bool whole = body.len <= REQUEST_BYTES_MAX;
    assert_str(dead.code, bad->code);
    expect_says(dead.reason, bad->says);
    assert_true(str_eq(dead.value, whole ? body : str_slice(body, 0, 65536)));
    assert_int_equal(sim_dead_header(sim, 0, HEADER_DEAD_SHA256).len, whole ? 0 : 64);
    assert_str(dead.topic, place.topic);
    assert_int_equal(dead.partition, place.partition);
    assert_int_equal(dead.offset, place.offset);
    assert_int_equal(dead.id.data != NULL, bad->status != NULL);
    for (size_t i = 0; bad->headers[i]; i += 2)
        assert_str(sim_dead_header(sim, 0, bad->headers[i]), bad->headers[i + 1]);
    if (bad->content_type)
        assert_str(sim_dead_header(sim, 0, HEADER_CONTENT_TYPE), bad->content_type);
}

/* The failed part names who asked, for the rows that are made of it. */
static void expect_part(struct sim *sim, const struct bad *bad)
{
    const struct result *part = sim_part(sim, "bad", 0);
    assert_non_null(part);
    const struct ticket *ticket = &part->request;
    assert_str(part->error.code, bad->code);
    expect_says(part->error.message, bad->says);
    assert_int_equal(part->attempts.count, 0);
    assert_int_equal(ticket->body_hash.len, 64);
    assert_int_equal(str_is(ticket->session, "s1"), bad->session);
    assert_int_equal(str_is(ticket->user, "u1"), !bad->nobody);
    assert_int_equal(str_is(ticket->reply_to, "quern.replies.shop"),
                     !bad->nobody && !bad->no_reply_to);
    assert_int_equal(ticket->created_at == 1699999999000, !bad->nobody);
    assert_true(ticket->created_at > 0);
}

static void expect_final(struct sim *sim, const struct bad *bad)
{
    const struct sim_final *final = sim_final(sim, "bad");
    assert_int_equal(final != NULL, bad->status != NULL);
    assert_int_equal(sim_replies_of(sim, "bad"), bad->status != NULL);
    if (!bad->status)
        return;
    assert_str(final->status, bad->status);
    expect_part(sim, bad);
    const struct reply *reply = sim_reply_of(sim, "bad");
    assert_str(reply->status, bad->status);
    assert_str(reply->error.code, bad->code);
    expect_says(reply->error.message, bad->says);
    assert_str(reply->error.retry, "never");
    assert_int_equal(str_is(reply->session, "s1"), bad->session);
    assert_int_equal(reply->metadata != NULL, !bad->nobody);
    if (!bad->nobody)
        assert_str(value_get_str(reply->metadata, "order"), "A-1");
    for (size_t i = 0; i < sim_replies(sim); i++)
        if (sim_reply_at(sim, i) == reply)
            assert_string_equal(sim_reply_topic(sim, i), bad->nobody || bad->no_reply_to
                                                             ? "quern.replies"
                                                             : "quern.replies.shop");
}

static void every_bad_input_is_told_why_and_the_partition_goes_on(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bads) / sizeof(bads[0]); i++) {
        const struct bad *bad = &bads[i];
        struct sim *sim = world(i);
        struct buf body = body_of(bad);
        struct sim_place place =
            sim_publish(sim, (struct sim_request){.raw = body.len ? body.data : "",
                                                  .raw_len = body.len,
                                                  .headers = bad->headers,
                                                  .content_type = bad->content_type});
        sim_publish(sim, (struct sim_request){.id = "good", .models = "alpha", .session = "s1"});
        print_message("  %s\n", bad->what);
        assert_true(sim_settle(sim));
        expect_dead(sim, bad, buf_str(&body), place);
        expect_final(sim, bad);
        assert_str(sim_final(sim, "good")->status, "done");
        /* A failed turn is a turn: the good one is the second. */
        assert_int_equal(sim_final(sim, "good")->turn, 1 + bad->session);
        assert_int_equal(sim_call_count(sim), 1);
        assert_int_equal(sim_committed(sim, 0), 2);
        buf_done(&body);
        sim_free(sim);
    }
}

/* ---- more than one of them ---- */

static void an_empty_list_of_messages_is_no_question_beside_one(void **state)
{
    struct sim *sim = world(100);
    (void)state;
    sim_publish(sim, (struct sim_request){.raw = "{\"id\":\"r1\",\"input\":\"hello\",\"messages\":"
                                                 "[],\"models\":[\"alpha\"]}"});
    sim_publish(sim, (struct sim_request){.raw = "{\"id\":\"r1\",\"input\":\"hello\","
                                                 "\"models\":[\"alpha\"]}"});
    assert_true(sim_settle(sim));
    assert_str(sim_final(sim, "r1")->status, "done");
    assert_int_equal(sim_call_count(sim), 1);
    assert_int_equal(sim_call(sim, 0)->messages->count, 1);
    assert_str(value_get_str(&sim_call(sim, 0)->messages->items[0], "content"), "hello");
    assert_int_equal(sim_dead_count(sim), 0);
    sim_free(sim);
}

static void a_refused_turn_waits_for_the_one_before_it(void **state)
{
    struct sim *sim = world(101);
    (void)state;
    sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = 3000});
    sim_publish(sim, (struct sim_request){.id = "r1", .session = "s1", .models = "alpha"});
    sim_publish(sim, (struct sim_request){.raw = "{" WHO SESSION ",\"input\":\"\xff\"}"});
    sim_run_ms(sim, 2000);
    assert_null(sim_final(sim, "bad"));
    assert_true(sim_settle(sim));
    assert_int_equal(sim_final(sim, "r1")->turn, 1);
    assert_int_equal(sim_final(sim, "bad")->turn, 2);
    sim_free(sim);
}

/* Sessions keep no order there, so nobody waits for a turn. */
static void a_refused_one_in_the_batch_lane_waits_for_no_turn(void **state)
{
    struct sim *sim = world(102);
    (void)state;
    sim_provider_now(sim, "alpha", (struct sim_reply){.after_ms = 3000});
    sim_publish(sim, (struct sim_request){.id = "r1", .session = "s1", .models = "alpha"});
    sim_publish(sim, (struct sim_request){.raw = "{" WHO SESSION ",\"input\":17}",
                                          .topic = "quern.requests.batch"});
    sim_run_ms(sim, 2000);
    assert_non_null(sim_final(sim, "bad"));
    assert_true(sim_settle(sim));
    assert_str(sim_final(sim, "r1")->status, "done");
    sim_free(sim);
}

static void bytes_that_come_twice_are_refused_once(void **state)
{
    struct sim *sim = world(103);
    (void)state;
    for (int i = 0; i < 2; i++) {
        sim_publish(sim, (struct sim_request){.raw = "{" WHO ",\"input\":\"\xff\"}"});
        assert_true(sim_settle(sim));
    }
    assert_int_equal(sim_final_count(sim), 1);
    assert_int_equal(sim_dead_count(sim), 1);
    assert_int_equal(sim_replies_of(sim, "bad"), 2);
    assert_null(sim_conflict_of(sim, "bad"));
    sim_free(sim);
}

/* ---- a known id with another body ---- */

/* Whose reply it is, where it went; "": there is none. */
static const char *conflict_topic(struct sim *sim, const char *id)
{
    for (size_t i = 0; i < sim_replies(sim); i++)
        if (sim_reply_at(sim, i) == sim_conflict_of(sim, id))
            return sim_reply_topic(sim, i);
    return "";
}

static void who_comes_second_is_told_where_he_asked_for_it(void **state)
{
    static const char *const seconds[] = {
        "{\"id\":\"r1\",\"input\":\"second\",\"reply_to\":\"quern.replies.b\",\"metadata\":{\"n\":"
        "\"2\"}}",
        "{\"id\":\"r1\",\"input\":17,\"reply_to\":\"quern.replies.b\",\"metadata\":{\"n\":\"2\"}}",
        "{\"id\":\"r1\",\"input\":\"\xff\",\"reply_to\":\"quern.replies.b\",\"metadata\":{\"n\":"
        "\"2\"}}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(seconds) / sizeof(seconds[0]); i++) {
        struct sim *sim = world(110 + i);
        sim_publish(sim, (struct sim_request){
                             .id = "r1", .models = "alpha", .reply_to = "quern.replies.a"});
        sim_run_ms(sim, i % 2 ? 2000 : 5);
        sim_publish(sim, (struct sim_request){.raw = seconds[i]});
        assert_true(sim_settle(sim));
        assert_str(sim_final(sim, "r1")->status, "done");
        assert_int_equal(sim_parts_of(sim, "r1"), 1);
        assert_int_equal(sim_dead_count(sim), 1);
        assert_str(sim_dead(sim, 0).code, "id_conflict");
        assert_str(sim_dead(sim, 0).value, seconds[i]);
        assert_string_equal(conflict_topic(sim, "r1"), "quern.replies.b");
        assert_str(value_get_str(sim_conflict_of(sim, "r1")->metadata, "n"), "2");
        assert_int_equal(sim_replies_of(sim, "r1"), 2);
        sim_free(sim);
    }
}

static void nobody_is_told_where_replies_may_not_go(void **state)
{
    struct sim *sim = world(120);
    (void)state;
    sim_publish(sim, (struct sim_request){.id = "r1", .models = "alpha"});
    assert_true(sim_settle(sim));
    sim_publish(sim, (struct sim_request){.id = "r1", .input = "other", .reply_to = "other.topic"});
    assert_true(sim_settle(sim));
    assert_string_equal(conflict_topic(sim, "r1"), "quern.replies");
    sim_free(sim);
}

static void a_reply_topic_that_says_no_holds_up_nobody(void **state)
{
    struct sim *sim = world(121);
    (void)state;
    sim_publish(sim, (struct sim_request){.id = "r1", .models = "alpha"});
    assert_true(sim_settle(sim));
    sim_topic_refuses(sim, "quern.replies.away");
    sim_publish(
        sim, (struct sim_request){.id = "r1", .input = "other", .reply_to = "quern.replies.away"});
    assert_true(sim_settle(sim));
    assert_string_equal(conflict_topic(sim, "r1"), "quern.replies");
    assert_true(sim_now_ms(sim) < 30000);
    sim_free(sim);
}

/* ---- headers ---- */

static void headers_that_are_too_many_do_not_crowd_out_the_reason(void **state)
{
    static char large[20000];
    struct sim *sim = world(130);
    (void)state;
    memset(large, 'x', sizeof(large) - 1);
    const char *const headers[] = {
        "ce_large",   large, "ce_id", "bad",  "ce_source",       "/shop", TRACE,
        "tracestate", "a=b", "x-own", "mine", "quern-dead-code", "old",   NULL};
    sim_publish(sim, (struct sim_request){.raw = "{", .headers = headers});
    assert_true(sim_settle(sim));
    assert_str(sim_dead(sim, 0).code, "invalid_encoding");
    assert_str(sim_dead(sim, 0).value, "{");
    assert_str(sim_dead_header(sim, 0, "ce_id"), "bad");
    assert_str(sim_dead_header(sim, 0, "ce_source"), "/shop");
    assert_str(sim_dead_header(sim, 0, "tracestate"), "a=b");
    assert_non_null(sim_dead_header(sim, 0, "traceparent").data);
    assert_null(sim_dead_header(sim, 0, "ce_large").data);
    assert_str(sim_dead_header(sim, 0, "x-own"), "mine");
    assert_str(sim_final(sim, "bad")->status, "failed");
    sim_free(sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_bad_input_is_told_why_and_the_partition_goes_on),
        cmocka_unit_test(an_empty_list_of_messages_is_no_question_beside_one),
        cmocka_unit_test(a_refused_turn_waits_for_the_one_before_it),
        cmocka_unit_test(a_refused_one_in_the_batch_lane_waits_for_no_turn),
        cmocka_unit_test(bytes_that_come_twice_are_refused_once),
        cmocka_unit_test(who_comes_second_is_told_where_he_asked_for_it),
        cmocka_unit_test(nobody_is_told_where_replies_may_not_go),
        cmocka_unit_test(a_reply_topic_that_says_no_holds_up_nobody),
        cmocka_unit_test(headers_that_are_too_many_do_not_crowd_out_the_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
