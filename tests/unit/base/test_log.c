/*
 * Goal: one event is one line, whole and valid, with no secret in it, and nobody waits for a
 * reader. Method: lines are caught by a sink; what concerns the write itself goes through a pipe
 * put in the place of stderr.
 */
#include "tests/unit/base/test.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>

#include "common/base/log.h"

static char caught[20000];
static int lines;

static void catch_line(struct str line, void *context)
{
    assert_ptr_equal(context, &lines);
    assert_true(line.len < sizeof(caught));
    memcpy(caught, line.data, line.len);
    caught[line.len] = '\0';
    lines++;
}

static void start(const char *format, enum log_level level)
{
    log_init("worker", format, level);
    log_sink(catch_line, &lines);
    log_subject_set((struct str){NULL, 0});
    lines = 0;
    caught[0] = '\0';
}

/* What follows the time, whose digits are compared with a pattern only. */
static const char *after_time(const char *prefix)
{
    static const char pattern[] = "dddd-dd-ddTdd:dd:dd.dddZ";
    size_t at = strlen(prefix);
    assert_memory_equal(caught, prefix, at);
    for (size_t i = 0; pattern[i]; i++) {
        if (pattern[i] == 'd')
            assert_in_range(caught[at + i], '0', '9');
        else
            assert_int_equal(caught[at + i], pattern[i]);
    }
    return caught + at + strlen(pattern);
}

static void an_event_is_a_json_object(void **state)
{
    (void)state;
    start("json", LOG_LEVEL_INFO);
    log_info("call done", LOG_C("model", "alpha"), LOG_I("ms", -12), LOG_N("cost", 0.25),
             LOG_B("cached", true), LOG_S("note", ((struct str){NULL, 0})));
    assert_string_equal(after_time("{\"ts\":\""),
                        "\",\"level\":\"info\",\"msg\":\"call done\",\"program\":\"worker\","
                        "\"model\":\"alpha\",\"ms\":-12,\"cost\":0.25,\"cached\":true,"
                        "\"note\":null}");
    log_warn("bare");
    assert_string_equal(after_time("{\"ts\":\""),
                        "\",\"level\":\"warn\",\"msg\":\"bare\",\"program\":\"worker\"}");
    log_error("odd numbers", LOG_N("a", NAN), LOG_N("b", -INFINITY), LOG_I("c", INT64_MIN));
    assert_non_null(strstr(caught, "\"a\":null,\"b\":null,\"c\":-9223372036854775808}"));
    assert_int_equal(lines, 3);
}

static void a_person_gets_a_text_line(void **state)
{
    (void)state;
    start("text", LOG_LEVEL_INFO);
    log_subject_set(STR("r-1"));
    log_info("call done", LOG_C("model", "alpha"), LOG_C("text", "two words"), LOG_C("empty", ""),
             LOG_C("pair", "a=b"), LOG_I("ms", 12));
    assert_string_equal(after_time(""), " info  worker: call done model=alpha text=\"two words\" "
                                        "empty=\"\" pair=\"a=b\" ms=12 request_id=r-1");
}

static void nothing_from_outside_can_begin_a_line(void **state)
{
    (void)state;
    static const char *const formats[] = {"json", "text"};
    for (size_t i = 0; i < COUNT_OF(formats); i++) {
        start(formats[i], LOG_LEVEL_INFO);
        log_info("msg\nforged", LOG_C("field", "a\nforged\x1b[2J\xff"));
        assert_null(strchr(caught, '\n'));
        assert_null(strchr(caught, '\x1b'));
        assert_non_null(strstr(caught, "msg\\nforged"));
        assert_non_null(strstr(caught, "a\\nforged\\u001b[2J\xef\xbf\xbd"));
    }
}

static void the_subject_comes_along_by_itself(void **state)
{
    (void)state;
    start("json", LOG_LEVEL_INFO);
    log_subject_set(STR("req-\"7\""));
    log_info("step", LOG_I("n", 1));
    assert_non_null(strstr(caught, ",\"n\":1,\"request_id\":\"req-\\\"7\\\"\"}"));
    log_subject_set((struct str){NULL, 0});
    log_info("step");
    assert_null(strstr(caught, "request_id"));
}

static int evaluated;

static struct str evaluate(void)
{
    evaluated++;
    return STR("value");
}

static void lines_below_the_level_cost_nothing(void **state)
{
    (void)state;
    start("json", LOG_LEVEL_WARN);
    log_debug("no", LOG_S("x", evaluate()));
    log_info("no", LOG_S("x", evaluate()));
    assert_int_equal(lines, 0);
    assert_int_equal(evaluated, 0);
    log_warn("yes", LOG_S("x", evaluate()));
    log_error("yes", LOG_S("x", evaluate()));
    assert_int_equal(lines, 2);
    assert_int_equal(evaluated, 2);
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("yes");
    assert_int_equal(lines, 3);

    enum log_level level = LOG_LEVEL_ERROR;
    assert_true(log_level_by_name(STR("debug"), &level));
    assert_int_equal(level, LOG_LEVEL_DEBUG);
    assert_true(log_level_by_name(STR("error"), &level));
    assert_int_equal(level, LOG_LEVEL_ERROR);
    assert_false(log_level_by_name(STR("loud"), &level));
    assert_int_equal(level, LOG_LEVEL_ERROR);
}

/* Fills `text` with `unit` over and over. */
static struct str fill(char *text, size_t len, struct str unit)
{
    for (size_t i = 0; i < len; i++)
        text[i] = unit.data[i % unit.len];
    return str_from(text, len - len % unit.len);
}

static void long_lines_are_cut_and_say_so(void **state)
{
    (void)state;
    static const struct str units[] = {{"a", 1}, {"\xe2\x82\xac", 3}, {"\x01", 1}, {"\xff", 1}};
    static const size_t sizes[] = {100, 1000, 4000, 5000, 100000};
    static char text[100000];
    static char id[500];
    static const char *const formats[] = {"json", "text"};
    for (size_t f = 0; f < COUNT_OF(formats); f++) {
        for (size_t u = 0; u < COUNT_OF(units); u++) {
            for (size_t s = 0; s < COUNT_OF(sizes); s++) {
                start(formats[f], LOG_LEVEL_INFO);
                log_subject_set(fill(id, sizeof(id), units[u]));
                struct str value = fill(text, sizes[s], units[u]);
                log_info("m", LOG_S("a", value), LOG_S("b", value), LOG_S("c", value),
                         LOG_I("n", 7));
                assert_int_equal(lines, 1);
                assert_true(strlen(caught) < 8192);
                assert_true(str_utf8_valid(str_of(caught)));
                bool cut = strstr(caught, f == 0 ? ",\"cut\":true," : " cut=true ");
                if (sizes[s] == 100)
                    assert_false(cut);
                if (sizes[s] >= 5000)
                    assert_true(cut);
                assert_non_null(strstr(caught, f == 0 ? ",\"request_id\":\"" : " request_id="));
                if (f == 0)
                    assert_int_equal(caught[strlen(caught) - 1], '}');
            }
        }
    }
}

static void one_long_text_does_not_push_the_others_out(void **state)
{
    (void)state;
    static char text[100000];
    start("json", LOG_LEVEL_INFO);
    log_info("m", LOG_S("long", fill(text, sizeof(text), STR("x"))), LOG_C("short", "here"));
    assert_non_null(strstr(caught, ",\"short\":\"here\",\"cut\":true}"));
    assert_true(strlen(caught) > 4096);
}

static void secrets_are_replaced_wherever_they_stand(void **state)
{
    (void)state;
    start("json", LOG_LEVEL_INFO);
    log_redact(STR("sk-alpha-123"));
    log_redact(STR("sk-alpha-12345")); /* longer with the same beginning */
    log_redact(STR("pass\"w\\ord"));
    log_redact(STR("abc")); /* too short to be one */
    log_redact((struct str){NULL, 0});
    log_subject_set(STR("sk-alpha-123"));
    log_info("key sk-alpha-12345 used", LOG_C("header", "Bearer sk-alpha-123, abc"),
             LOG_C("quoted", "pass\"w\\ord"));
    assert_non_null(strstr(caught, "\"msg\":\"key *** used\""));
    assert_non_null(strstr(caught, "\"header\":\"Bearer ***, abc\""));
    assert_non_null(strstr(caught, "\"quoted\":\"***\""));
    assert_non_null(strstr(caught, "\"request_id\":\"***\""));
}

/* A secret that lies across the place of the cut must not show its first half. */
static void no_cut_goes_through_a_secret(void **state)
{
    (void)state;
    static char text[9000];
    log_redact(STR("hunter2-secret"));
    for (size_t before = 4070; before < 4100; before++) {
        start("json", LOG_LEVEL_INFO);
        memset(text, ' ', sizeof(text));
        memcpy(text + before, "hunter2-secret", 14);
        log_info("m", LOG_S("long", str_from(text, sizeof(text))));
        assert_null(strstr(caught, "hun"));
        assert_non_null(strstr(caught, "\"cut\":true"));
    }
}

static void texts_on_other_ways_are_covered_in_place(void **state)
{
    (void)state;
    log_redact(STR("topsecret"));
    char text[] = "a topsecret, topsecrettopsecret, topsecre";
    log_redact_text(text, strlen(text));
    assert_string_equal(text, "a *********, ******************, topsecre");
    char part[] = "topsecret";
    log_redact_text(part, 8); /* the end is no part of it */
    assert_string_equal(part, "topsecret");
}

/* Puts a pipe in the place of stderr; returns the end to read from. */
static int saved_stderr;

static int pipe_begin(void)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    fcntl(ends[1], F_SETFL, 0); /* the writing end blocks, as a shell's pipe does */
    saved_stderr = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    log_init("worker", "auto", LOG_LEVEL_INFO);
    log_sink(NULL, NULL);
    log_subject_set((struct str){NULL, 0});
    return ends[0];
}

static void pipe_end(int reader)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    close(reader);
    log_init("worker", "json", LOG_LEVEL_INFO);
}

/* What was read from the pipe so far. */
static char heard[1 << 21];
static size_t heard_len;

static void listen_to(int reader)
{
    ssize_t got;
    while ((got = read(reader, heard + heard_len, sizeof(heard) - heard_len)) > 0)
        heard_len += (size_t)got;
}

/* Counts the whole lines that were heard; all others but `torn_max` must be whole. */
static int whole_lines(int torn_max)
{
    int whole = 0;
    struct str rest = {heard, heard_len};
    struct str line;
    while (rest.len && str_split(&rest, '\n', &line)) {
        bool is_whole = str_starts(line, STR("{\"ts\":")) && str_ends(line, STR("}"));
        whole += is_whole;
        torn_max -= !is_whole;
        assert_true(torn_max >= 0);
        /* A second brace would be a second event in the same line. */
        assert_int_equal(str_index(str_slice(line, 1, line.len), '{'), line.len - 1);
    }
    heard_len = 0;
    return whole;
}

static void lines_are_written_at_once_to_stderr(void **state)
{
    (void)state;
    int reader = pipe_begin();
    log_info("one");
    log_info("two");
    listen_to(reader);
    assert_int_equal(whole_lines(0), 2);
    pipe_end(reader);
}

static void a_full_pipe_drops_lines_and_nobody_waits(void **state)
{
    (void)state;
    static char text[4000];
    int reader = pipe_begin();
    uint64_t before = log_dropped();
    struct str value = fill(text, sizeof(text), STR("x"));
    /* 6 KB a line: more than a pipe takes atomically, so one may be torn. */
    for (int i = 0; i < 40; i++)
        log_info("m", LOG_S("a", value), LOG_S("b", str_slice(value, 0, 2000)));
    int lost = (int)(log_dropped() - before);
    assert_in_range(lost, 1, 39);
    listen_to(reader);
    log_info("after");
    listen_to(reader);
    assert_int_equal(whole_lines(1), 40 - lost + 1);
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0); /* not ours to change */
    pipe_end(reader);
}

static void a_reader_who_left_is_no_reason_to_die(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    int reader = pipe_begin();
    close(reader);
    uint64_t before = log_dropped();
    errno = EXDEV;
    log_error("nobody hears this");
    assert_int_equal(errno, EXDEV);
    assert_int_equal(log_dropped() - before, 1);
    pipe_end(-1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_is_a_json_object),
        cmocka_unit_test(a_person_gets_a_text_line),
        cmocka_unit_test(nothing_from_outside_can_begin_a_line),
        cmocka_unit_test(the_subject_comes_along_by_itself),
        cmocka_unit_test(lines_below_the_level_cost_nothing),
        cmocka_unit_test(long_lines_are_cut_and_say_so),
        cmocka_unit_test(one_long_text_does_not_push_the_others_out),
        cmocka_unit_test(secrets_are_replaced_wherever_they_stand),
        cmocka_unit_test(no_cut_goes_through_a_secret),
        cmocka_unit_test(texts_on_other_ways_are_covered_in_place),
        cmocka_unit_test(lines_are_written_at_once_to_stderr),
        cmocka_unit_test(a_full_pipe_drops_lines_and_nobody_waits),
        cmocka_unit_test(a_reader_who_left_is_no_reason_to_die),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
