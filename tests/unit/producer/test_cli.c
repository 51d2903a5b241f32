/*
 * Goal: tables line up, lines of files are read whole and bounded, records have the right key, and
 * the settings of all programs fit one file.
 * Method: small inputs, texts byte for byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/settings/settings.h"
#include "producer/cli/cli.h"
#include "producer/cli/input.h"
#include "producer/cli/migrate.h"
#include "producer/cli/table.h"
#include "producer/record.h"

static struct arena arena;

static int begin(void **state)
{
    (void)state;
    arena_init(&arena, NULL, 4 << 20);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static void columns_are_as_wide_as_their_cells(void **state)
{
    (void)state;
    struct table table;
    struct buf text;
    buf_init(&text, 4096);
    table_init(&table, &arena, (const char *const[]){"name", "n", "last", NULL});
    table_add(&table, STR("caf\xc3\xa9 long"));
    table_add(&table, STR("5"));
    table_add(&table, STR("a\033[31m\nb")); /* no control character reaches the terminal */
    table_add(&table, STR("x"));
    table_printf(&table, "%d", 1234);
    table_add(&table, STR(""));
    table_text(&table, false, &text);
    assert_string_equal(text.data, "name          n  last\n"
                                   "caf\xc3\xa9 long     5  a [31m b\n"
                                   "x          1234  \n");
    buf_clear(&text);
    table_json(&table, &text);
    assert_non_null(strstr(text.data, "\"n\": 1234,\n    \"last\": null"));
    buf_done(&text);
}

/* What a model or a provider said, on its way to a terminal. */
static void what_others_say_does_not_steer_the_terminal(void **state)
{
    char text[] = "a\033]52;c;aGk=\007b\r\n\tc\xc2\x9b"
                  "31m caf\xc3\xa9 \x7f\033[1mbold\033[0m\033[2J\033[1\xc2";
    (void)state;
    cli_tame(text, sizeof(text) - 1);
    assert_string_equal(text,
                        "a ]52;c;aGk= b \n\tc  31m caf\xc3\xa9  \033[1mbold\033[0m [2J [1\xc2");
}

static void counts_and_durations_are_readable(void **state)
{
    (void)state;
    assert_true(str_is(table_count(&arena, 0), "0"));
    assert_true(str_is(table_count(&arena, 999), "999"));
    assert_true(str_is(table_count(&arena, 1234567), "1 234 567"));
    assert_true(str_is(table_count(&arena, -1000), "-1 000"));
    assert_true(str_is(table_ms(&arena, 20), "20 ms"));
    assert_true(str_is(table_ms(&arena, 1500), "1.5 s"));
    assert_true(str_is(table_ms(&arena, 62000), "1:02 min"));
    assert_true(str_is(table_ms(&arena, 3720000), "1:02 h"));
}

static void lines_are_read_whole_and_bounded(void **state)
{
    (void)state;
    static const char text[] = "one\r\n\nthree\0x\nfar too long\nlast";
    FILE *file = fmemopen((void *)(uintptr_t)text, sizeof(text) - 1, "r");
    struct buf line;
    buf_init(&line, 8);
    assert_int_equal(input_next(file, &line), INPUT_LINE);
    assert_string_equal(line.data, "one");
    assert_int_equal(input_next(file, &line), INPUT_LINE);
    assert_int_equal(line.len, 0);
    assert_int_equal(input_next(file, &line), INPUT_LINE);
    assert_int_equal(line.len, 7);
    assert_int_equal(input_next(file, &line), INPUT_LONG);
    assert_int_equal(input_next(file, &line), INPUT_LINE);
    assert_string_equal(line.data, "last");
    assert_int_equal(input_next(file, &line), INPUT_END);
    buf_done(&line);
    fclose(file);
}

static void the_key_is_the_session_else_the_id(void **state)
{
    (void)state;
    struct request request;
    contract_init(&contract_request, &request);
    request.id = STR("i");
    assert_true(str_is(record_key(&request), "i"));
    assert_int_equal(record_lane(&request, true), TOPIC_REQUESTS_BATCH);
    assert_int_equal(record_lane(&request, false), TOPIC_REQUESTS);
    request.session = STR("s");
    assert_true(str_is(record_key(&request), "s"));
    assert_int_equal(record_lane(&request, true), TOPIC_REQUESTS); /* sessions keep an order */
}

static void the_names_of_raw_bytes_are_found_where_they_can_be(void **state)
{
    (void)state;
    struct record_names names;
    assert_true(record_names_of(STR("{\"id\":\"i\",\"session\":\"s\",\"input\":5}"), ENCODING_JSON,
                                &arena, &names));
    assert_true(str_is(names.id, "i") && str_is(names.session, "s"));
    assert_false(record_names_of(STR("nonsense"), ENCODING_JSON, &arena, &names));
    assert_null(names.id.data);
}

static void every_setting_of_the_file_stands_once(void **state)
{
    (void)state;
    const struct conf_row *rows = settings_rows(&arena);
    struct settings *settings = arena_new(&arena, struct settings);
    struct err err = {0};
    const struct conf_source source = {0};
    for (const struct conf_row *row = rows; row->key; row++)
        for (const struct conf_row *other = row + 1; other->key; other++)
            assert_string_not_equal(row->key, other->key);
    if (!conf_load(rows, &source, &arena, settings, &err))
        fail_msg("%s", err.text);
    assert_int_equal(settings->worker.max_in_flight, 2000);
    assert_int_equal(settings->aggregator.history_turns, 50);
    assert_true(settings_check(settings, NULL, &err));
}

static void migrations_are_numbered_without_a_gap(void **state)
{
    (void)state;
    int version = 1;
    for (const struct migration *m = migrations; m->version; m++) {
        assert_int_equal(m->version, version++);
        assert_true(strlen(m->sql) > 0);
    }
    assert_true(version > 2);
}

static void every_command_has_help_and_a_unique_name(void **state)
{
    (void)state;
    for (const struct command *command = commands; command->name; command++) {
        struct buf text;
        buf_init(&text, 1 << 20);
        cli_help(command, &text);
        assert_non_null(strstr(text.data, command->about));
        assert_non_null(strstr(text.data, "usage: quern "));
        assert_non_null(strstr(text.data, "exit codes: "));
        buf_done(&text);
        for (const struct command *other = command + 1; other->name; other++)
            assert_string_not_equal(command->name, other->name);
    }
}

/* What the command line prints on stdout, in `ret`; its exit code. */
static int run(char *ret, size_t size, int argc, const char *const *words)
{
    char copies[8][64], *argv[9] = {NULL};
    FILE *file = tmpfile();
    for (int i = 0; i < argc; i++) {
        snprintf(copies[i], sizeof(copies[i]), "%s", words[i]);
        argv[i] = copies[i];
    }
    fflush(stdout);
    int before = dup(STDOUT_FILENO);
    assert_true(file && dup2(fileno(file), STDOUT_FILENO) >= 0);
    int code = cli_main(argc, argv);
    fflush(stdout);
    dup2(before, STDOUT_FILENO);
    close(before);
    rewind(file);
    ret[fread(ret, 1, size - 1, file)] = '\0';
    fclose(file);
    return code;
}

static void every_command_prints_its_help_and_ends_well(void **state)
{
    (void)state;
    static char text[65536];
    for (const struct command *command = commands; command->name; command++) {
        const char *words[4] = {"quern"};
        char first[32] = "", second[32] = "";
        int count = 1 + sscanf(command->name, "%31s %31s", first, second);
        words[1] = first;
        words[2] = second;
        words[count] = "--help";
        int code = run(text, sizeof(text), count + 1, words);
        if (code != 0 || !strstr(text, command->about))
            fail_msg("quern %s --help ends with %d: %s", command->name, code, text);
        words[count] = "-h";
        assert_int_equal(run(text, sizeof(text), count + 1, words), 0);
    }
}

static void groups_of_commands_have_help(void **state)
{
    (void)state;
    static char text[65536];
    assert_int_equal(run(text, sizeof(text), 3, (const char *const[]){"quern", "dead", "--help"}),
                     0);
    assert_non_null(strstr(text, "dead list"));
    assert_non_null(strstr(text, "dead show"));
    assert_non_null(strstr(text, "dead retry"));
    assert_null(strstr(text, "submit"));
    assert_int_equal(run(text, sizeof(text), 3, (const char *const[]){"quern", "-h", "topics"}), 0);
    assert_int_equal(run(text, sizeof(text), 2, (const char *const[]){"quern", "dead"}), 2);
    assert_string_equal(text, "");
    assert_int_equal(run(text, sizeof(text), 2, (const char *const[]){"quern", "--help"}), 0);
    assert_non_null(strstr(text, "batch run FILE"));
    assert_int_equal(run(text, sizeof(text), 1, (const char *const[]){"quern"}), 2);
}

static void what_was_meant_is_guessed_when_it_is_near(void **state)
{
    (void)state;
    static const struct {
        const char *first, *second, *meant;
    } cases[] = {
        {"sumbit", NULL, "submit"},
        {"shw", "some-id", "show"},
        {"docter", NULL, "doctor"},
        {"dead", "lst", "dead list"},
        {"deed", "retry", "dead retry"},
        {"topics", "make", "topics create"},
        {"migrate", "stat", "migrate status"},
        {"batch", "--resume", "batch run"},
        {"xyz", NULL, NULL},
        {"", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char first[32], second[32], *argv[] = {first, second};
        snprintf(first, sizeof(first), "%s", cases[i].first);
        snprintf(second, sizeof(second), "%s", cases[i].second ? cases[i].second : "");
        const char *meant = cli_nearest_command(cases[i].second ? 2 : 1, argv);
        if (cases[i].meant)
            assert_string_equal(meant ? meant : "nothing", cases[i].meant);
        else
            assert_null(meant);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_others_say_does_not_steer_the_terminal),
        TEST(columns_are_as_wide_as_their_cells),
        TEST(counts_and_durations_are_readable),
        TEST(lines_are_read_whole_and_bounded),
        TEST(the_key_is_the_session_else_the_id),
        TEST(the_names_of_raw_bytes_are_found_where_they_can_be),
        TEST(every_setting_of_the_file_stands_once),
        TEST(migrations_are_numbered_without_a_gap),
        TEST(every_command_has_help_and_a_unique_name),
        TEST(every_command_prints_its_help_and_ends_well),
        TEST(groups_of_commands_have_help),
        TEST(what_was_meant_is_guessed_when_it_is_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
