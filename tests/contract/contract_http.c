/*
 * Contract of common/io/http_client.h.
 */
#include "tests/contract/stage.h"

#include "common/base/xalloc.h"
#include "common/io/http_client.h"

#define REPLY_BYTES_MAX 1000

struct heard {
    unsigned times, sends;
    int status;
    bool ok;
    struct err err;
    char body[128], header[64];
    /* in pieces */
    bool takes;
    size_t taken;
    char pieces[128], piece_header[64];
    int piece_status;
    /* asked before it is sent */
    bool is_asked, says_no;
    unsigned asked;
};

struct play {
    struct stage *stage;
    struct http_client *http;
};

static int set_up(void **state)
{
    struct play *play = xzalloc(sizeof(*play));
    struct err err = {0};
    play->stage = stage_new();
    const struct http_client_conf conf = {
        .calls_max = 3, .reply_bytes_max = REPLY_BYTES_MAX, .user_agent = STR("contract")};
    play->http = http_client_new(stage_loop(play->stage, 0), &conf, &err);
    *state = play;
    return play->http ? 0 : -1;
}

static int tear_down(void **state)
{
    struct play *play = *state;
    http_client_free(play->http);
    stage_free(play->stage);
    free(play);
    return 0;
}

static void on_done(const struct http_reply *reply, const struct err *err, void *context)
{
    struct heard *heard = context;
    heard->times++;
    heard->ok = err == NULL;
    heard->status = reply->status;
    heard->sends = reply->sends;
    if (err)
        heard->err = *err;
    snprintf(heard->body, sizeof(heard->body), STR_FMT, STR_ARG(reply->body));
    snprintf(heard->header, sizeof(heard->header), STR_FMT,
             STR_ARG(http_reply_header(reply, "x-answer")));
}

static bool on_piece(const struct http_reply *head, struct str bytes, void *context)
{
    struct heard *heard = context;
    assert_int_equal(heard->times, 0);
    heard->piece_status = head->status;
    snprintf(heard->piece_header, sizeof(heard->piece_header), STR_FMT,
             STR_ARG(http_reply_header(head, "x-answer")));
    if (!heard->takes)
        return false;
    assert_true(heard->taken + bytes.len < sizeof(heard->pieces));
    memcpy(heard->pieces + heard->taken, bytes.data, bytes.len);
    heard->taken += bytes.len;
    return true;
}

static bool on_ready(void *context)
{
    struct heard *heard = context;
    assert_int_equal(heard->times, 0);
    heard->asked++;
    return !heard->says_no;
}

static struct http_call *call_with(struct play *play, struct heard *heard, int64_t total_ms,
                                   http_piece *piece)
{
    struct err err = {0};
    const struct http_header headers[] = {{STR("Content-Type"), STR("application/json")},
                                          {STR("X-Request-Id"), STR("r1")}};
    const struct http_request request = {.method = STR("POST"),
                                         .url = stage_http_url(play->stage),
                                         .headers = headers,
                                         .header_count = 2,
                                         .body = STR("{\"messages\":[]}"),
                                         .connect_timeout_ms = 1000,
                                         .total_timeout_ms = total_ms,
                                         .ready = heard->is_asked ? on_ready : NULL,
                                         .piece = piece};
    struct http_call *made = http_call(play->http, &request, on_done, heard, &err);
    assert_int_equal(heard->times, 0); /* never from inside */
    heard->err = err;
    return made;
}

static struct http_call *call(struct play *play, struct heard *heard, int64_t total_ms)
{
    *heard = (struct heard){0};
    return call_with(play, heard, total_ms, NULL);
}

static void expect_error(struct play *play, struct heard *heard, enum err_code code)
{
    UNTIL(play->stage, heard->times == 1);
    assert_false(heard->ok);
    if (heard->err.code != code)
        fail_msg("wanted %s, got %s: %s", err_name(code), err_name(heard->err.code),
                 heard->err.text);
    stage_run_ms(play->stage, 50);
    assert_int_equal(heard->times, 1);
    assert_int_equal(http_in_flight(play->http), 0);
}

static void status_headers_and_body_arrive(void **state)
{
    struct play *play = *state;
    struct heard heard;
    stage_http_answers(
        play->stage,
        (struct stage_reply){.status = 429, .headers = "X-Answer: forty two\r\n", .body = "busy"});
    assert_non_null(call(play, &heard, 5000));
    assert_int_equal(http_in_flight(play->http), 1);
    UNTIL(play->stage, heard.times == 1);
    assert_true(heard.ok); /* whatever its status */
    assert_int_equal(heard.status, 429);
    assert_string_equal(heard.body, "busy");
    assert_string_equal(heard.header, "forty two");
    assert_int_equal(http_in_flight(play->http), 0);
    assert_int_equal(stage_http_calls(play->stage), 1);
}

static void who_takes_the_pieces_gets_all_of_them_and_no_body(void **state)
{
    struct play *play = *state;
    struct heard heard = {.takes = true};
    stage_http_answers(
        play->stage, (struct stage_reply){.headers = "X-Answer: forty two\r\n", .body = "one two"});
    assert_non_null(call_with(play, &heard, 5000, on_piece));
    UNTIL(play->stage, heard.times == 1);
    assert_true(heard.ok);
    assert_string_equal(heard.pieces, "one two");
    assert_int_equal(heard.piece_status, 200);
    assert_string_equal(heard.piece_header, "forty two");
    assert_string_equal(heard.body, "");
    assert_string_equal(heard.header, "forty two");
}

static void who_leaves_the_pieces_gets_the_body(void **state)
{
    struct play *play = *state;
    struct heard heard = {0};
    stage_http_answers(play->stage, (struct stage_reply){.status = 400, .body = "no, never"});
    assert_non_null(call_with(play, &heard, 5000, on_piece));
    UNTIL(play->stage, heard.times == 1);
    assert_true(heard.ok);
    assert_int_equal(heard.piece_status, 400);
    assert_string_equal(heard.body, "no, never");
}

static void pieces_that_are_cut_end_with_an_error(void **state)
{
    struct play *play = *state;
    struct heard heard = {.takes = true};
    stage_http_answers(play->stage,
                       (struct stage_reply){.body = "as far as it goes", .trouble = STAGE_CUT});
    assert_non_null(call_with(play, &heard, 5000, on_piece));
    expect_error(play, &heard, ERR_PROVIDER_BAD_REPLY);
    assert_true(heard.taken < strlen("as far as it goes"));
}

static void what_nobody_takes_has_the_ceiling_of_a_whole_reply(void **state)
{
    struct play *play = *state;
    struct heard heard = {0};
    char *body = xzalloc(REPLY_BYTES_MAX + 2);
    memset(body, 'x', REPLY_BYTES_MAX + 1);
    stage_http_answers(play->stage, (struct stage_reply){.body = body});
    assert_non_null(call_with(play, &heard, 5000, on_piece));
    expect_error(play, &heard, ERR_TOO_BIG);
    free(body);
}

static void a_refused_connection_is_a_provider_that_is_down(void **state)
{
    struct play *play = *state;
    struct heard heard;
    stage_http_answers(play->stage, (struct stage_reply){.trouble = STAGE_REFUSED});
    assert_non_null(call(play, &heard, 5000));
    expect_error(play, &heard, ERR_PROVIDER_DOWN);
    assert_int_equal(heard.status, 0);
    assert_int_equal(stage_http_calls(play->stage), 0);
}

static void a_reply_cut_in_the_middle_is_a_bad_reply(void **state)
{
    struct play *play = *state;
    struct heard heard;
    stage_http_answers(play->stage,
                       (struct stage_reply){.body = "as far as it goes", .trouble = STAGE_CUT});
    assert_non_null(call(play, &heard, 5000));
    expect_error(play, &heard, ERR_PROVIDER_BAD_REPLY);
}

static void silence_is_a_time_out(void **state)
{
    struct play *play = *state;
    struct heard heard;
    stage_http_answers(play->stage, (struct stage_reply){.trouble = STAGE_SILENT});
    int64_t began_ms = stage_now_ms(play->stage);
    assert_non_null(call(play, &heard, 300));
    UNTIL(play->stage, heard.times == 1);
    assert_in_range(stage_now_ms(play->stage) - began_ms, 295, 1500);
    expect_error(play, &heard, ERR_PROVIDER_TIMEOUT);
}

static void a_late_reply_is_a_time_out(void **state)
{
    struct play *play = *state;
    struct heard heard;
    stage_http_answers(play->stage, (struct stage_reply){.after_ms = 600, .body = "late"});
    assert_non_null(call(play, &heard, 200));
    expect_error(play, &heard, ERR_PROVIDER_TIMEOUT);
    stage_run_ms(play->stage, 700);
    assert_int_equal(heard.times, 1);
}

static void a_reply_beyond_the_ceiling_is_too_big(void **state)
{
    struct play *play = *state;
    struct heard heard;
    char body[REPLY_BYTES_MAX + 2];
    memset(body, 'x', sizeof(body) - 1);
    body[sizeof(body) - 1] = 0;
    stage_http_answers(play->stage, (struct stage_reply){.body = body});
    assert_non_null(call(play, &heard, 5000));
    expect_error(play, &heard, ERR_TOO_BIG);
    body[REPLY_BYTES_MAX] = 0;
    stage_http_answers(play->stage, (struct stage_reply){.body = body});
    assert_non_null(call(play, &heard, 5000));
    UNTIL(play->stage, heard.times == 1);
    assert_true(heard.ok);
}

static void a_call_that_is_taken_back_is_not_sent(void **state)
{
    struct play *play = *state;
    struct heard first = {.is_asked = true, .says_no = true}, then = {.is_asked = true};
    stage_http_answers(play->stage, (struct stage_reply){.body = "here"});
    assert_non_null(call_with(play, &first, 5000, NULL));
    expect_error(play, &first, ERR_CANCELLED);
    assert_int_equal(first.status, 0);
    assert_int_equal(first.sends, 0);
    assert_int_equal(first.asked, 1);
    assert_int_equal(stage_http_calls(play->stage), 0);
    assert_non_null(call_with(play, &then, 5000, NULL));
    UNTIL(play->stage, then.times == 1);
    assert_true(then.ok);
    assert_int_equal(then.sends, 1);
    assert_int_equal(then.asked, 1);
    assert_int_equal(stage_http_calls(play->stage), 1);
}

static void a_cancelled_call_is_never_answered(void **state)
{
    struct play *play = *state;
    struct heard cancelled, other;
    stage_http_answers(play->stage, (struct stage_reply){.after_ms = 100, .body = "here"});
    struct http_call *made = call(play, &cancelled, 5000);
    assert_non_null(call(play, &other, 5000));
    http_cancel(play->http, made);
    assert_int_equal(http_in_flight(play->http), 1);
    UNTIL(play->stage, other.times == 1);
    stage_run_ms(play->stage, 200);
    assert_int_equal(cancelled.times, 0);
}

static void more_calls_than_allowed_are_refused_and_not_answered(void **state)
{
    struct play *play = *state;
    struct heard heard[4];
    stage_http_answers(play->stage, (struct stage_reply){.after_ms = 100, .body = "here"});
    for (int i = 0; i < 3; i++)
        assert_non_null(call(play, &heard[i], 5000));
    assert_null(call(play, &heard[3], 5000));
    assert_int_equal(heard[3].err.code, ERR_UNAVAILABLE);
    UNTIL(play->stage, heard[0].times && heard[1].times && heard[2].times);
    assert_int_equal(heard[3].times, 0);
    assert_non_null(call(play, &heard[3], 5000));
    UNTIL(play->stage, heard[3].times == 1);
}

static void calls_under_way_end_with_the_door(void **state)
{
    struct play *play = *state;
    struct heard heard;
    stage_http_answers(play->stage, (struct stage_reply){.after_ms = 50, .body = "here"});
    assert_non_null(call(play, &heard, 5000));
    http_client_free(play->http);
    play->http = NULL;
    stage_run_ms(play->stage, 150);
    assert_int_equal(heard.times, 0);
}

#define PLAY(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAY(status_headers_and_body_arrive),
        PLAY(who_takes_the_pieces_gets_all_of_them_and_no_body),
        PLAY(who_leaves_the_pieces_gets_the_body),
        PLAY(pieces_that_are_cut_end_with_an_error),
        PLAY(what_nobody_takes_has_the_ceiling_of_a_whole_reply),
        PLAY(a_refused_connection_is_a_provider_that_is_down),
        PLAY(a_reply_cut_in_the_middle_is_a_bad_reply),
        PLAY(silence_is_a_time_out),
        PLAY(a_late_reply_is_a_time_out),
        PLAY(a_reply_beyond_the_ceiling_is_too_big),
        PLAY(a_call_that_is_taken_back_is_not_sent),
        PLAY(a_cancelled_call_is_never_answered),
        PLAY(more_calls_than_allowed_are_refused_and_not_answered),
        PLAY(calls_under_way_end_with_the_door),
    };
    stage_only();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
