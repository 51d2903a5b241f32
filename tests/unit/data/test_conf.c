/*
 * test_conf.c -- one table, a file, an environment and flags: what wins, what is refused, how it is
 * said; and the pages made from the table.
 *
 * Files are written into a folder of their own that is the working directory, so that messages
 * carry short names.
 */
#include "common/data/conf.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/data/json.h"

struct item {
    struct str name, key;
    struct conf_strs keys;
    int64_t timeout_ms;
    double price;
    struct conf_props headers;
};

struct settings {
    struct str name, password, kind;
    int64_t count, bytes, wait_ms;
    double ratio;
    bool on;
    struct conf_strs list;
    struct conf_props props;
    struct conf_items items;
    int64_t late;
};

#define ROW(type_, key, kind, otherwise, min, max, choices, live, member)                          \
    {                                                                                              \
        key, kind, otherwise, min, max, choices, live, offsetof(type_, member), NULL, 0,           \
            "About " key                                                                           \
    }

/* clang-format off */
static const struct conf_row item_rows[] = {
    ROW(struct item, "name", CONF_STR, NULL, 0, 0, NULL, true, name),
    ROW(struct item, "api_key", CONF_SECRET, "", 0, 0, NULL, true, key),
    ROW(struct item, "keys", CONF_SECRETS, "", 0, 0, NULL, true, keys),
    ROW(struct item, "timeout", CONF_DURATION, "2m", 10, 600000, NULL, true, timeout_ms),
    ROW(struct item, "price", CONF_REAL, "", 0, 100, NULL, true, price),
    ROW(struct item, "headers", CONF_PROPS, "", 0, 0, "-", true, headers),
    {0},
};

static const struct conf_row rows[] = {
    ROW(struct settings, "server.name", CONF_STR, "quern", 0, 0, NULL, false, name),
    ROW(struct settings, "server.password", CONF_SECRET, "", 0, 0, NULL, false, password),
    ROW(struct settings, "server.kind", CONF_ENUM, "fast", 0, 0, "fast|slow", true, kind),
    ROW(struct settings, "work.max_in_flight", CONF_INT, "100", 1, 1000, NULL, false, count),
    ROW(struct settings, "work.bytes", CONF_BYTES, "64KiB", 1024, 1 << 20, NULL, true, bytes),
    ROW(struct settings, "work.wait", CONF_DURATION, "30s", 100, 3600000, NULL, true, wait_ms),
    ROW(struct settings, "work.ratio", CONF_REAL, "0.5", 0, 1, NULL, true, ratio),
    ROW(struct settings, "work.on", CONF_BOOL, "yes", 0, 0, NULL, true, on),
    ROW(struct settings, "work.list", CONF_STRS, "a,b", 0, 0, NULL, true, list),
    ROW(struct settings, "bus.properties", CONF_PROPS, "", 0, 0, NULL, false, props),
    {"models", CONF_ITEMS, "", 0, 0, NULL, true, offsetof(struct settings, items), item_rows,
     sizeof(struct item), "The models"},
    /* "server" again, not beside its other rows */
    ROW(struct settings, "server.late", CONF_INT, "7", 0, 0, NULL, true, late),
    {0},
};
/* clang-format on */

static struct arena arena;
static struct settings conf;
static struct err err;
static char folder[] = "/tmp/quern-test-conf-XXXXXX";

static int set_up_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int tear_down_folder(void **state)
{
    (void)state;
    remove("quern.yaml");
    remove("secret");
    remove("server.password");
    remove("keys");
    return chdir("/") == 0 && rmdir(folder) == 0 ? 0 : -1;
}

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, NULL, 8 << 20);
    err = (struct err){0};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* yaml NULL: no file. */
static bool load(const char *yaml, const char *const *environment, const struct conf_flag *flags,
                 size_t flag_count)
{
    const struct conf_source source = {
        .file = yaml ? "quern.yaml" : NULL,
        .environment = environment,
        .flags = flags,
        .flag_count = flag_count,
        .ignore_prefixes = "worker,other",
    };
    if (yaml)
        write_file("quern.yaml", yaml);
    memset(&conf, 0, sizeof(conf));
    return conf_load(rows, &source, &arena, &conf, &err);
}

#define ENVIRONMENT(...) ((const char *const[]){__VA_ARGS__, NULL})

#define assert_loaded(condition)                                                                   \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("%s", err.text);                                                              \
    } while (0)

static void assert_str(struct str s, const char *text)
{
    assert_non_null(s.data);
    assert_int_equal(s.len, strlen(text));
    assert_string_equal(s.data, text); /* texts have a NUL behind them */
}

static const struct item *item(size_t at)
{
    assert_true(at < conf.items.count);
    return (const struct item *)conf.items.items + at;
}

static struct str property(const struct conf_props *props, const char *key)
{
    for (size_t i = 0; i < props->count; i++)
        if (str_is(props->keys[i], key))
            return props->values[i];
    return (struct str){NULL, 0};
}

/* Values */

static void without_any_source_the_defaults_hold(void **state)
{
    (void)state;
    assert_loaded(load(NULL, NULL, NULL, 0));
    assert_str(conf.name, "quern");
    assert_str(conf.password, "");
    assert_str(conf.kind, "fast");
    assert_int_equal(conf.count, 100);
    assert_int_equal(conf.bytes, 65536);
    assert_int_equal(conf.wait_ms, 30000);
    assert_true(conf.ratio == 0.5);
    assert_true(conf.on);
    assert_int_equal(conf.list.count, 2);
    assert_str(conf.list.items[1], "b");
    assert_int_equal(conf.props.count, 0);
    assert_int_equal(conf.items.count, 0);
}

static void empty_files_are_fine(void **state)
{
    (void)state;
    const char *const files[] = {"",          "# nothing\n",           "---\n",         "server:\n",
                                 "models:\n", "bus:\n  properties:\n", "work: {wait: }"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        assert_loaded(load(files[i], NULL, NULL, 0));
        assert_int_equal(conf.wait_ms, 30000);
    }
}

static void file_fills_every_type(void **state)
{
    (void)state;
    assert_loaded(load("server: {name: \"it's\", password: geheim, kind: slow}\n"
                       "work:\n"
                       "  max_in_flight: 250\n"
                       "  bytes: 16 KiB\n"
                       "  wait: 1.5m\n"
                       "  ratio: 0.25\n"
                       "  on: off\n"
                       "  list: [x, 'y, z', z]\n"
                       "bus:\n"
                       "  properties:\n"
                       "    security.protocol: SSL\n"
                       "    linger.ms: 5\n",
                       NULL, NULL, 0));
    assert_str(conf.name, "it's");
    assert_str(conf.password, "geheim");
    assert_str(conf.kind, "slow");
    assert_int_equal(conf.count, 250);
    assert_int_equal(conf.bytes, 16384);
    assert_int_equal(conf.wait_ms, 90000);
    assert_true(conf.ratio == 0.25);
    assert_false(conf.on);
    assert_int_equal(conf.list.count, 3);
    assert_str(conf.list.items[1], "y, z");
    assert_str(property(&conf.props, "security.protocol"), "SSL");
    assert_str(property(&conf.props, "linger.ms"), "5");
}

static void amounts_are_read_with_their_units(void **state)
{
    (void)state;
    static const struct {
        const char *key, *text;
        int64_t want; /* -1: refused */
    } cases[] = {
        {"work.wait", "500ms", 500},
        {"work.wait", "30s", 30000},
        {"work.wait", "5m", 300000},
        {"work.wait", "1h", 3600000},
        {"work.wait", "250", -1},
        {"work.wait", "0.5", -1},
        {"work.wait", " 2 s ", 2000},
        {"work.wait", "2h", -1},
        {"work.wait", "99ms", -1},
        {"work.wait", "s", -1},
        {"work.wait", "5 minutes", -1},
        {"work.wait", "-5s", -1},
        {"work.wait", "", -1},
        {"work.wait", "1e999s", -1},
        {"work.wait", "nan", -1},
        {"work.bytes", "4KiB", 4096},
        {"work.bytes", "1MiB", 1 << 20},
        {"work.bytes", "5000", 5000},
        {"work.bytes", "5kB", 5000},
        {"work.bytes", "2000B", 2000},
        {"work.bytes", "1.5KiB", 1536},
        {"work.bytes", "1GiB", -1},
        {"work.bytes", "9999999999999GiB", -1},
        {"work.max_in_flight", "1000", 1000},
        {"work.max_in_flight", "1001", -1},
        {"work.max_in_flight", "0", -1},
        {"work.max_in_flight", "1.5", -1},
        {"work.max_in_flight", "ten", -1},
        {"work.max_in_flight", "99999999999999999999", -1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct conf_flag flag = {cases[i].key, cases[i].text};
        bool good = load(NULL, NULL, &flag, 1);
        if (good != (cases[i].want >= 0))
            fail_msg("%s=%s", cases[i].key, cases[i].text);
        int64_t got = strcmp(flag.key, "work.wait") == 0    ? conf.wait_ms
                      : strcmp(flag.key, "work.bytes") == 0 ? conf.bytes
                                                            : conf.count;
        if (good)
            assert_int_equal(got, cases[i].want);
    }
}

static void amounts_that_two_people_read_differently_need_a_unit(void **state)
{
    (void)state;
    static const struct {
        const char *key, *text, *said;
    } cases[] = {
        {"work.wait", "5", "'work.wait' needs a unit: write 5s or 5ms"},
        {"work.wait", "1.5", "'work.wait' needs a unit: write 1.5s or 1.5ms"},
        {"work.bytes", "64k", "'work.bytes' needs a unit: write 64KiB or 64kB"},
        {"work.bytes", "1 M", "'work.bytes' needs a unit: write 1MiB or 1MB"},
        {"work.bytes", "1mb", "'work.bytes' needs a unit: write 1MiB or 1MB"},
        {"work.bytes", "2Gb", "'work.bytes' needs a unit: write 2GiB or 2GB"},
        {"work.wait", "0", "must be between 100ms and 1h, is '0'"},
        {"work.bytes", "k", "must be a size like 64KiB or 16MiB, is 'k'"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct conf_flag flag = {cases[i].key, cases[i].text};
        assert_false(load(NULL, NULL, &flag, 1));
        if (!strstr(err.text, cases[i].said))
            fail_msg("%s=%s: %s", cases[i].key, cases[i].text, err.text);
    }
}

static void misspelled_choice_has_its_nearest_one_named(void **state)
{
    (void)state;
    const struct conf_flag near = {"server.kind", "fats"}, far = {"server.kind", "other"};
    assert_false(load(NULL, NULL, &near, 1));
    assert_non_null(strstr(err.text, "must be one of fast|slow, is 'fats', did you mean 'fast'?"));
    assert_false(load(NULL, NULL, &far, 1));
    assert_null(strstr(err.text, "did you mean"));
}

static void truth_has_many_words(void **state)
{
    (void)state;
    const char *const words[] = {"true", "on", "Yes", "1", "FALSE", "off", "no", "0"};
    for (size_t i = 0; i < 8; i++) {
        const struct conf_flag flag = {"work.on", words[i]};
        assert_loaded(load(NULL, NULL, &flag, 1));
        assert_int_equal(conf.on, i < 4);
    }
    const struct conf_flag flag = {"work.on", "maybe"};
    assert_false(load(NULL, NULL, &flag, 1));
}

static void absent_real_is_not_a_number(void **state)
{
    (void)state;
    assert_loaded(load("models: {a: {}, b: {price: 2.5}}", NULL, NULL, 0));
    assert_true(isnan(item(0)->price));
    assert_true(item(1)->price == 2.5);
}

/* Order of the sources */

static void flag_beats_environment_beats_file_beats_default(void **state)
{
    (void)state;
    const char *yaml = "work: {max_in_flight: 2}";
    const char *const *environment = ENVIRONMENT("PATH=/", "QUERN_WORK__MAX_IN_FLIGHT=3");
    const struct conf_flag flags[] = {{"work.max_in_flight", "4"}, {"work.max_in_flight", "5"}};
    assert_loaded(load(yaml, NULL, NULL, 0));
    assert_int_equal(conf.count, 2);
    assert_loaded(load(yaml, environment, NULL, 0));
    assert_int_equal(conf.count, 3);
    assert_loaded(load(yaml, environment, flags, 2));
    assert_int_equal(conf.count, 5); /* the last one typed */
}

static void environment_lists_are_comma_separated(void **state)
{
    (void)state;
    assert_loaded(load(NULL, ENVIRONMENT("QUERN_WORK__LIST=x, y,,z "), NULL, 0));
    assert_int_equal(conf.list.count, 3);
    assert_str(conf.list.items[1], "y");
    assert_str(conf.list.items[2], "z");
    assert_loaded(load(NULL, ENVIRONMENT("QUERN_WORK__LIST="), NULL, 0));
    assert_int_equal(conf.list.count, 0);
}

static void properties_of_all_sources_come_together(void **state)
{
    (void)state;
    const struct conf_flag flags[] = {{"bus.properties.linger.ms", "9"}};
    write_file("secret", "pass word\n");
    assert_loaded(load("bus: {properties: {linger.ms: 1, acks: 1}}",
                       ENVIRONMENT("QUERN_BUS__PROPERTIES__SECURITY_PROTOCOL=SSL",
                                   "QUERN_BUS__PROPERTIES__LINGER_MS=2",
                                   "QUERN_BUS__PROPERTIES__SASL_PASSWORD_FILE=secret",
                                   "QUERN_BUS__PROPERTIES__ASSERTION_KEY_FILE=kept"),
                       flags, 1));
    assert_int_equal(conf.props.count, 5);
    assert_str(property(&conf.props, "linger.ms"), "9");
    assert_str(property(&conf.props, "acks"), "1");
    assert_str(property(&conf.props, "security.protocol"), "SSL");
    assert_str(property(&conf.props, "sasl.password"), "pass word");
    assert_str(property(&conf.props, "assertion.key.file"), "kept");
}

static void items_come_as_map_or_list_and_take_environment_by_name(void **state)
{
    (void)state;
    const char *const files[] = {
        "models:\n  gpt-4.1:\n    timeout: 5s\n  plain:\n",
        "models:\n  - name: gpt-4.1\n    timeout: 5s\n  - {name: plain}\n",
    };
    const struct conf_flag flags[] = {{"models.plain.timeout", "7s"}};
    for (size_t i = 0; i < 2; i++) {
        assert_loaded(load(files[i],
                           ENVIRONMENT("QUERN_MODELS__GPT_4_1__API_KEY=k1",
                                       "QUERN_MODELS__GPT_4_1__HEADERS__X_ORG=o"),
                           flags, 1));
        assert_int_equal(conf.items.count, 2);
        assert_str(item(0)->name, "gpt-4.1");
        assert_str(item(0)->key, "k1");
        assert_int_equal(item(0)->timeout_ms, 5000);
        assert_str(property(&item(0)->headers, "x-org"), "o");
        assert_str(item(1)->name, "plain");
        assert_str(item(1)->key, "");
        assert_int_equal(item(1)->timeout_ms, 7000);
    }
}

static void texts_take_names_of_the_environment(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want; /* NULL: refused */
    } cases[] = {
        {"${A}", "one"},
        {"x${A}y${A}", "xoneyone"},
        {"${NONE:-other}", "other"},
        {"${EMPTY:-other}", "other"},
        {"${EMPTY}", ""},
        {"${NONE:-}", ""},
        {"$A", "$A"},
        {"5$", "5$"},
        {"${A", "${A"},
        {"$${A}", "${A}"},
        {"${NONE}", NULL},
        {"${}", NULL},
        {"${NONE:-a:-b}", "a:-b"},
        {"}${A}", "}one"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char yaml[128];
        snprintf(yaml, sizeof(yaml), "server: {name: '%s'}", cases[i].text);
        bool good = load(yaml, ENVIRONMENT("A=one", "EMPTY="), NULL, 0);
        if (good != (cases[i].want != NULL))
            fail_msg("%s", cases[i].text);
        if (good)
            assert_str(conf.name, cases[i].want);
    }
    assert_non_null(strstr(err.text, "quern.yaml:1: the environment has no ''"));
}

static void secrets_come_from_files_without_their_line_end(void **state)
{
    (void)state;
    write_file("secret", "s3cret \r\n");
    assert_loaded(load(NULL, ENVIRONMENT("QUERN_SERVER__PASSWORD_FILE=secret"), NULL, 0));
    assert_str(conf.password, "s3cret ");
    assert_loaded(load("server: {password_file: '${F}'}", ENVIRONMENT("F=secret"), NULL, 0));
    assert_str(conf.password, "s3cret ");

    write_file("server.password", "from systemd\n");
    assert_loaded(
        load("server: {password: weaker}", ENVIRONMENT("CREDENTIALS_DIRECTORY=."), NULL, 0));
    assert_str(conf.password, "from systemd");
    assert_str(conf.name, "quern"); /* only secrets are looked for */
    remove("server.password");
    remove("keys");
    assert_loaded(load(NULL, ENVIRONMENT("CREDENTIALS_DIRECTORY=."), NULL, 0));
    assert_str(conf.password, "");
}

static void add_secret(struct str secret, void *context)
{
    buf_add_str(context, secret);
    buf_add_char(context, '\n');
}

static void lists_of_secrets_come_as_lists_lines_of_files_and_are_hidden(void **state)
{
    static const char *const files[] = {"models: {a: {keys: [one, '${K}', two]}}",
                                        "models: {a: {keys: 'one, see , two'}}",
                                        "models: {a: {keys_file: keys}}"};
    (void)state;
    struct buf text;
    buf_init(&text, 65536);
    write_file("keys", "one\nsee\r\ntwo\n\n");
    for (size_t i = 0; i < 3; i++) {
        assert_loaded(load(files[i], ENVIRONMENT("K=see"), NULL, 0));
        assert_int_equal(item(0)->keys.count, 3);
        assert_str(item(0)->keys.items[1], "see");
        assert_str(item(0)->keys.items[2], "two");
        buf_clear(&text);
        conf_each_secret(rows, &conf, add_secret, &text);
        assert_string_equal(text.data, "one\nsee\ntwo\n");
        buf_clear(&text);
        conf_print(rows, &conf, &text);
        assert_non_null(strstr(text.data, "keys: [\"***\", \"***\", \"***\"]"));
        assert_null(strstr(text.data, "see"));
    }
    buf_done(&text);
}

static void overruled_source_is_not_looked_at(void **state)
{
    (void)state;
    assert_loaded(
        load("server: {name: '${NOT_SET}'}", ENVIRONMENT("QUERN_SERVER__NAME=n"), NULL, 0));
    assert_str(conf.name, "n");
}

/* Refusals: what the message says */

static void messages_name_the_place_and_the_reason(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *say;
    } cases[] = {
        {"work:\n  max_inflight: 5\n",
         "quern.yaml:2: unknown key 'work.max_inflight', did you mean 'work.max_in_flight'?"},
        {"\nwrok:\n  wait: 5s\n", "quern.yaml:2: unknown key 'wrok', did you mean 'work'?"},
        {"entirely_else: 1", "quern.yaml:1: unknown key 'entirely_else'; --help lists"},
        {"models:\n  a:\n    timeuot: 1s\n",
         "quern.yaml:3: unknown key 'models.a.timeuot', did you mean 'models.a.timeout'?"},
        {"models:\n  - name: a\n    worker: 1s\n", "quern.yaml:3: unknown key 'models.a.worker'"},
        {"server: {name_file: secret}", "unknown key 'server.name_file'"},
        {"work: {max_in_flight: 0}",
         "quern.yaml:1: 'work.max_in_flight' must be between 1 and 1000, is '0'"},
        {"work: {wait: 2h}", "'work.wait' must be between 100ms and 1h, is '2h'"},
        {"work: {bytes: 2MiB}", "'work.bytes' must be between 1KiB and 1MiB, is '2MiB'"},
        {"work: {ratio: 1.5}", "'work.ratio' must be between 0 and 1, is '1.5'"},
        {"work: {ratio: inf}", "'work.ratio' must be a number"},
        {"server: {kind: fats}", "'server.kind' must be one of fast|slow, is 'fats'"},
        {"models: {a: {timeout: 1ms}}", "'models.a.timeout' must be between 10ms and 10m"},
        {"work: {wait: [1]}", "'work.wait' must be one value"},
        {"work: {wait: {}}", "'work.wait' must be one value"},
        {"work: {list: {}}", "'work.list' must be one value or a list"},
        {"work: {list: [a, [b]]}", "'work.list' must be a list of plain values"},
        {"work: {list: [a, ~]}", "'work.list' must be a list of plain values"},
        {"work: 5", "quern.yaml:1: 'work' must be a map of settings"},
        {"work: []", "'work' must be a map of settings"},
        {"bus: {properties: 5}", "'bus.properties' must be a map"},
        {"bus: {properties: {a: {b: c}}}", "'bus.properties.a' must be one value"},
        {"models: 5", "'models' must be a map or a list of maps"},
        {"models: {a: 5}", "an item of 'models' must be a map"},
        {"models: [~]", "an item of 'models' must be a map"},
        {"models:\n  - timeout: 5s\n", "quern.yaml:2: an item of 'models' has no name"},
        {"models: {a: {name: }}", "an item of 'models' has no name"},
        {"models: {a: {}, b: {name: a}}", "'models' has two items named 'a'"},
        {"server: {password_file: nowhere}", "quern.yaml:1: cannot read 'nowhere': No such file"},
        {"server: {password: a, password_file: b}",
         "both 'server.password' and 'server.password_file' (quern.yaml:1) are set"},
        {"server.name: a", "unknown key 'server.name': in the file 'name' stands below 'server:'"},
        {"server: {name: \"a\\0b\"}", "'server.name' must be text without NUL bytes"},
        /* YAML itself */
        {"- a", "quern.yaml:1: the file must be a map of sections"},
        {"just text", "the file must be a map of sections"},
        {"work:\n  wait: 1s\n  wait: 2s\n",
         "quern.yaml:3: the key 'wait' stands there twice, first at quern.yaml:2"},
        {"a: &x 1\nb: *x\n", "quern.yaml:2: aliases (*name) are not taken"},
        {"[a]: 1", "a key must be plain text"},
        {"a: 1\n---\nb: 1\n", "only one document is taken"},
        {"work: [1\nserver:", "quern.yaml:"},
        {"work:\n\twait: 1s\n", "quern.yaml:2: "},
        {"[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]", "nested too deep"},
        {"server: {name: \"\\xff\xff\"}", "quern.yaml:"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        err = (struct err){0};
        if (load(cases[i].yaml, NULL, NULL, 0))
            fail_msg("taken: %s", cases[i].yaml);
        assert_int_equal(err.code, ERR_CONFIG);
        if (!strstr(err.text, cases[i].say))
            fail_msg("%s: '%s' is not in '%s'", cases[i].yaml, cases[i].say, err.text);
    }
}

static void messages_about_flags_and_environment_say_so(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *say;
    } flags[] = {
        {"work.wiat", "1", "command line: unknown key 'work.wiat', did you mean 'work.wait'?"},
        {"work", "1", "command line: unknown key 'work'"},
        {"bus.properties", "1", "command line: 'bus.properties' is a map"},
        {"work.wait", "x", "command line: 'work.wait' must be a duration"},
    };
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        const struct conf_flag flag = {flags[i].key, flags[i].value};
        assert_false(load(NULL, NULL, &flag, 1));
        if (!strstr(err.text, flags[i].say))
            fail_msg("'%s' is not in '%s'", flags[i].say, err.text);
    }
    assert_false(load(NULL, ENVIRONMENT("QUERN_WORK__WAIT=x"), NULL, 0));
    assert_non_null(strstr(err.text, "environment QUERN_WORK__WAIT: 'work.wait' must be"));
    assert_false(load(NULL, ENVIRONMENT("QUERN_SERVER__PASSWORD_FILE=nowhere"), NULL, 0));
    assert_non_null(strstr(err.text, "environment QUERN_SERVER__PASSWORD_FILE: cannot read"));
    assert_false(
        load(NULL, ENVIRONMENT("QUERN_SERVER__NAME=a", "QUERN_SERVER__NAME_FILE=b"), NULL, 0));
    assert_non_null(strstr(err.text, "both QUERN_SERVER__NAME and QUERN_SERVER__NAME_FILE"));
}

static void sections_of_other_programs_are_passed_over(void **state)
{
    (void)state;
    const struct conf_flag flag = {"other.thing", "1"};
    assert_loaded(load("worker: {anything: [1, {goes: here}]}\nother: 5\n", NULL, &flag, 1));
}

static void required_row_without_a_value_is_refused(void **state)
{
    (void)state;
    const struct conf_row required[] = {
        ROW(struct settings, "server.name", CONF_STR, NULL, 0, 0, NULL, false, name), {0}};
    const struct conf_source source = {0};
    assert_false(conf_load(required, &source, &arena, &conf, &err));
    assert_string_equal(err.text, "'server.name' is required and not set");
}

static void files_that_cannot_be_read_are_told_by_name(void **state)
{
    (void)state;
    const struct conf_source missing = {.file = "missing.yaml"}, folder_source = {.file = "."};
    assert_false(conf_load(rows, &missing, &arena, &conf, &err));
    assert_string_equal(err.text, "cannot read 'missing.yaml': No such file or directory");
    assert_false(conf_load(rows, &folder_source, &arena, &conf, &err));
    assert_non_null(strstr(err.text, "cannot read '.'"));
}

static void file_of_more_than_a_mebibyte_is_refused(void **state)
{
    (void)state;
    size_t len = (1 << 20) + 1;
    char *text = malloc(len + 1);
    memset(text, '#', len);
    text[len] = '\0';
    assert_false(load(text, NULL, NULL, 0));
    assert_non_null(strstr(err.text, "it is too large"));
    text[len - 1] = '\0';
    assert_loaded(load(text, NULL, NULL, 0));
    free(text);
}

static void configuration_beyond_the_arena_is_refused(void **state)
{
    (void)state;
    arena_done(&arena);
    arena_init(&arena, NULL, 256);
    assert_false(load("server: {name: x}", NULL, NULL, 0));
    assert_non_null(strstr(err.text, "needs more than 256 bytes"));
}

static bool is_of_others(struct str name, struct str value)
{
    return str_is(name, "QUERN_WEB_PORT") && str_is(value, "tcp://10.0.0.1:80");
}

static void unknown_variable_is_refused_with_the_nearest_name(void **state)
{
    (void)state;
    static const char *const others[] = {"QUERN_CONFIG", "QUERN_RUN_DIR", NULL};
    static const struct {
        const char *variable, *said; /* NULL: taken */
    } cases[] = {
        {"HOME=/", NULL},
        {"QUERN_CONFIG=x", NULL},
        {"QUERN_RUN_DIR=/run", NULL},
        {"QUERN_WORK__WAIT=1s", NULL},
        {"QUERN_SERVER__PASSWORD_FILE=", NULL},
        {"QUERN_BUS__PROPERTIES__ANY=1", NULL},
        {"QUERN_WORKER__X=1", NULL}, /* another program's */
        {"QUERN_WEB_PORT=tcp://10.0.0.1:80", NULL},
        {"QUERN_MODELS__GPT_4__API_KEY=k", NULL},
        {"QUERN_MODELS__GPT_4__HEADERS__A=1", NULL},
        {"QUERN_WORK__WIAT=1s",
         "QUERN_WORK__WIAT names no setting, did you mean QUERN_WORK__WAIT?"},
        {"QUERN_WORK_WAIT=1s", "did you mean QUERN_WORK__WAIT?"},
        {"QUERN_CONFG=x", "did you mean QUERN_CONFIG?"},
        {"QUERN_SERVER__PASSWORD_FIEL=x", "did you mean QUERN_SERVER__PASSWORD_FILE?"},
        {"QUERN_MODELS__GPT_5__API_KEY=k", "did you mean QUERN_MODELS__GPT_4__API_KEY?"},
        {"QUERN_MODELS__GPT_4__NONSENSE=s3cret", "QUERN_MODELS__GPT_4__NONSENSE names no setting;"},
        {"QUERN_WEB_PORT=8080", "QUERN_WEB_PORT names no setting"},
        {"QUERN_=1", "QUERN_ names no setting"},
    };
    write_file("quern.yaml", "models: {gpt-4: }");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct conf_source source = {
            .environment = ENVIRONMENT(cases[i].variable),
            .file = "quern.yaml",
            .variables = others,
            .is_foreign = is_of_others,
            .ignore_prefixes = "worker",
        };
        bool good = conf_load(rows, &source, &arena, &conf, &err);
        if (good != !cases[i].said || (!good && !strstr(err.text, cases[i].said)))
            fail_msg("%s: %s", cases[i].variable, good ? "taken" : err.text);
        assert_null(strstr(err.text, "s3cret"));
    }
}

/* Places */

static void every_setting_has_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *key, *where;
    } cases[] = {
        {"server.name", "quern.yaml:2"},
        {"server.kind", "environment QUERN_SERVER__KIND"}, /* stronger than the file */
        {"work.wait", "command line"},
        {"work.list", "quern.yaml:5"},
        {"work.list[0]", "quern.yaml:5"},
        {"work.list[1]", "quern.yaml:6"},
        {"bus.properties.a", "quern.yaml:8"},
        {"models", "quern.yaml:9"},
        {"models.m", "quern.yaml:10"},
        {"models.m.timeout", "quern.yaml:11"},
        {"models.m.price", "quern.yaml:10"}, /* a default stands where its item does */
        {"work.bytes", NULL},
        {"nothing", NULL},
        {"", NULL},
    };
    struct conf_places places = {0};
    const struct conf_flag flag = {"work.wait", "1s"};
    const struct conf_source source = {
        .file = "quern.yaml",
        .environment = ENVIRONMENT("QUERN_SERVER__KIND=fast"),
        .flags = &flag,
        .flag_count = 1,
        .places = &places,
    };
    write_file("quern.yaml", "server:\n  name: a\n  kind: slow\nwork:\n  list: [a,\n   b]\n"
                             "bus: {properties:\n  {a: b}}\nmodels:\n  m:\n    timeout: 5s\n");
    assert_loaded(conf_load(rows, &source, &arena, &conf, &err));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *where = conf_place(&places, str_of(cases[i].key));
        if (!where != !cases[i].where || (where && strcmp(where, cases[i].where) != 0))
            fail_msg("%s: %s", cases[i].key, where ? where : "nowhere");
    }
    assert_null(conf_place(NULL, STR("server.name")));
    assert_string_equal(conf_aside(&places, STR("models.m")).text, " (quern.yaml:10)");
    assert_string_equal(conf_aside(NULL, STR("models.m")).text, "");
    assert_false(conf_refuse(&places, STR("work.wait"), &err, "is %d too long", 5));
    assert_string_equal(err.text, "command line: 'work.wait' is 5 too long");
    assert_false(conf_refuse(NULL, STR("work.wait"), &err, "is wrong"));
    assert_string_equal(err.text, "'work.wait' is wrong");
}

/* Reload */

static void fixed_rows_keep_their_old_values(void **state)
{
    (void)state;
    assert_loaded(load("work: {max_in_flight: 1, wait: 1s}\nserver: {name: old}\n"
                       "bus: {properties: {a: old}}\n",
                       NULL, NULL, 0));
    struct settings old = conf;
    assert_loaded(load("work: {max_in_flight: 2, wait: 2s}\nserver: {name: new}\n"
                       "bus: {properties: {a: new}}\nmodels: {m: }\n",
                       NULL, NULL, 0));
    struct str changes = conf_fixed_changes(rows, &old, &conf, &arena);
    assert_str(changes, "server.name, work.max_in_flight, bus.properties");
    conf_keep_fixed(rows, &old, &conf, &arena);
    assert_str(conf.name, "old");
    assert_ptr_not_equal(conf.name.data, old.name.data); /* the old arena may go */
    assert_int_equal(conf.count, 1);
    assert_str(property(&conf.props, "a"), "old");
    assert_int_equal(conf.wait_ms, 2000);
    assert_int_equal(conf.items.count, 1);
    assert_str(conf_fixed_changes(rows, &old, &conf, &arena), "");
}

/* Secrets and pages */

static const char with_secrets[] =
    "server: {password: 'postgres://u:geheim1@h/db'}\n"
    "bus: {properties: {sasl.password: geheim2, linger.ms: 5}}\n"
    "models: {m: {api_key: geheim3, headers: {Authorization: geheim4, X-Org: public}}}\n";

static void every_secret_is_told(void **state)
{
    (void)state;
    struct buf secrets;
    buf_init(&secrets, 4096);
    assert_loaded(load(with_secrets, NULL, NULL, 0));
    conf_each_secret(rows, &conf, add_secret, &secrets);
    assert_string_equal(secrets.data, "postgres://u:geheim1@h/db\ngeheim1\ngeheim2\ngeheim3\n"
                                      "geheim4\n");
    buf_clear(&secrets);
    assert_loaded(load("server: {password: \"host=h password='a b' dbname=d\"}", NULL, NULL, 0));
    conf_each_secret(rows, &conf, add_secret, &secrets);
    assert_non_null(strstr(secrets.data, "\na b\n"));
    buf_done(&secrets);
}

static void print_hides_secrets_and_can_be_read_again(void **state)
{
    (void)state;
    struct buf first, second;
    buf_init(&first, 65536);
    buf_init(&second, 65536);
    assert_loaded(load(with_secrets,
                       ENVIRONMENT("QUERN_SERVER__NAME=a\"b: #\n'c\xe2\x80\xa9\x7f\xc2\x85z"), NULL,
                       0));
    conf_print(rows, &conf, &first);
    assert_null(strstr(first.data, "geheim"));
    assert_non_null(strstr(first.data, "\"X-Org\": \"public\""));
    assert_loaded(load(first.data, NULL, NULL, 0));
    assert_str(conf.name, "a\"b: #\n'c\xe2\x80\xa9\x7f\xc2\x85z");
    assert_int_equal(item(0)->timeout_ms, 120000);
    assert_true(isnan(item(0)->price));
    conf_print(rows, &conf, &second);
    assert_string_equal(first.data, second.data);
    buf_done(&first);
    buf_done(&second);
}

/* "  # wait: 30s" becomes "  wait: 30s"; sentences and the inside of items stay comments. */
static void uncomment(struct str sample, struct buf *ret)
{
    struct str line;
    while (str_split(&sample, '\n', &line)) {
        size_t hash = str_index(line, '#');
        struct str setting = str_slice(line, hash + 2 < line.len ? hash + 2 : line.len, line.len);
        size_t name = strspn(setting.data, "abcdefghijklmnopqrstuvwxyz_");
        if (name > 0 && name < setting.len && setting.data[name] == ':') {
            buf_add_str(ret, str_slice(line, 0, hash));
            line = setting;
        }
        buf_add_str(ret, line);
        buf_add_char(ret, '\n');
    }
}

static void sample_sets_nothing_and_uncommented_sets_the_defaults(void **state)
{
    (void)state;
    struct buf sample, active, defaults, print;
    struct buf *all[] = {&sample, &active, &defaults, &print};
    for (size_t i = 0; i < 4; i++)
        buf_init(all[i], 65536);
    assert_loaded(load(NULL, NULL, NULL, 0));
    conf_print(rows, &conf, &defaults);
    conf_sample(rows, &sample);
    uncomment(buf_str(&sample), &active);
    assert_non_null(strstr(active.data, "\n  wait: 30s\n"));
    const char *const files[] = {sample.data, active.data};
    for (size_t i = 0; i < 2; i++) {
        buf_clear(&print);
        assert_loaded(load(files[i], NULL, NULL, 0));
        conf_print(rows, &conf, &print);
        assert_string_equal(print.data, defaults.data);
    }
    for (const struct conf_row *row = rows; row->key; row++)
        assert_non_null(strstr(sample.data, row->sentence));
    for (size_t i = 0; i < 4; i++)
        buf_done(all[i]);
}

static void reference_has_a_line_per_setting(void **state)
{
    (void)state;
    struct buf page;
    buf_init(&page, 65536);
    conf_reference(rows, &page);
    assert_non_null(strstr(page.data, "| `work.wait` | duration, 100 to 3600000 ms | `30s` | yes | "
                                      "About work.wait |\n"));
    assert_non_null(strstr(page.data, "| `server.kind` | choice: fast, slow | `fast` | yes |"));
    assert_non_null(strstr(page.data, "| `models.NAME.name` | text | required | yes |"));
    buf_done(&page);
}

static void json_schema_is_json_and_has_every_key_once(void **state)
{
    (void)state;
    struct buf page;
    struct value schema;
    buf_init(&page, 65536);
    conf_json_schema(rows, "quern", &page);
    if (!json_read(buf_str(&page), &arena, &schema, &err))
        fail_msg("%s", err.text);
    const struct value *properties = value_get_map(&schema, "properties");
    const struct value *server = value_get_map(value_get_map(properties, "server"), "properties");
    assert_int_equal(properties->count, 4); /* server, work, bus, models */
    assert_int_equal(server->count, 5);     /* name, password, password_file, kind, late */
    assert_non_null(value_get_map(server, "late"));
    const struct value *models = value_get_map(properties, "models");
    assert_non_null(value_get_map(value_get_map(models, "additionalProperties"), "properties"));
    const struct value *work = value_get_map(value_get_map(properties, "work"), "properties");
    assert_int_equal(value_get_int(value_get_map(work, "bytes"), "maximum", 0), 1 << 20);
    assert_int_equal(value_get_int(value_get_map(work, "wait"), "maximum", 0), 0); /* is a text */
    buf_done(&page);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(without_any_source_the_defaults_hold),
        T(empty_files_are_fine),
        T(file_fills_every_type),
        T(amounts_are_read_with_their_units),
        T(amounts_that_two_people_read_differently_need_a_unit),
        T(misspelled_choice_has_its_nearest_one_named),
        T(truth_has_many_words),
        T(absent_real_is_not_a_number),
        T(flag_beats_environment_beats_file_beats_default),
        T(environment_lists_are_comma_separated),
        T(properties_of_all_sources_come_together),
        T(items_come_as_map_or_list_and_take_environment_by_name),
        T(texts_take_names_of_the_environment),
        T(secrets_come_from_files_without_their_line_end),
        T(lists_of_secrets_come_as_lists_lines_of_files_and_are_hidden),
        T(overruled_source_is_not_looked_at),
        T(messages_name_the_place_and_the_reason),
        T(messages_about_flags_and_environment_say_so),
        T(sections_of_other_programs_are_passed_over),
        T(required_row_without_a_value_is_refused),
        T(files_that_cannot_be_read_are_told_by_name),
        T(file_of_more_than_a_mebibyte_is_refused),
        T(configuration_beyond_the_arena_is_refused),
        T(unknown_variable_is_refused_with_the_nearest_name),
        T(every_setting_has_its_place),
        T(fixed_rows_keep_their_old_values),
        T(every_secret_is_told),
        T(print_hides_secrets_and_can_be_read_again),
        T(sample_sets_nothing_and_uncommented_sets_the_defaults),
        T(reference_has_a_line_per_setting),
        T(json_schema_is_json_and_has_every_key_once),
    };
    return cmocka_run_group_tests(tests, set_up_folder, tear_down_folder);
}
