/*
 * test_shared_conf.c -- the settings all programs share: defaults, what is refused, what the doors
 * are given. All values come by flags and environment.
 */
#include "common/app/shared_conf.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"

struct settings {
    int64_t something_before;
    struct shared_conf shared;
};

static const struct conf_row rows[] = {SHARED_CONF_ROWS(struct settings, shared), {0}};

static struct arena arena;
static struct settings conf;
static struct err err;

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, NULL, 1 << 20);
    memset(&conf, 0, sizeof(conf));
    err = (struct err){0};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

static bool load(const char *key, const char *value)
{
    const struct conf_flag flag = {key, value};
    const struct conf_source source = {.flags = &flag, .flag_count = key ? 1 : 0};
    return conf_load(rows, &source, &arena, &conf, &err) &&
           shared_conf_check(&conf.shared, NULL, &err);
}

static void defaults_reach_the_doors(void **state)
{
    (void)state;
    struct kafka_conf kafka;
    struct postgres_conf postgres;
    struct redis_conf redis;
    assert_true(load(NULL, NULL));
    shared_kafka_conf(&conf.shared, &kafka);
    shared_postgres_conf(&conf.shared, &postgres);
    shared_redis_conf(&conf.shared, &redis);
    assert_true(str_is(kafka.bootstrap_servers, "127.0.0.1:9092"));
    assert_int_equal(kafka.session_timeout_ms, 6000);
    assert_int_equal(kafka.fetch_bytes_max, 16 << 20);
    assert_int_equal(kafka.delivery_timeout_ms, 30000);
    assert_int_equal(kafka.linger_ms, 5);
    assert_ptr_equal(kafka.properties, &conf.shared.kafka_properties);
    assert_null(postgres.password.data); /* absent: libpq looks elsewhere */
    assert_true(str_is(redis.url, "redis://127.0.0.1:6379/0"));
    assert_null(redis.password.data);
    assert_int_equal(redis.command_timeout_ms, 500);
}

static void empty_redis_url_switches_redis_off(void **state)
{
    (void)state;
    struct redis_conf redis;
    assert_true(load("redis.url", ""));
    shared_redis_conf(&conf.shared, &redis);
    assert_null(redis.url.data);
}

static void reserved_kafka_properties_are_refused_with_a_reason(void **state)
{
    (void)state;
    assert_true(load("kafka.properties.security.protocol", "SSL"));
    assert_int_equal(conf.shared.kafka_properties.count, 1);
    static const char *const names[] = {"enable.auto.commit", "acks",
                                        "partitioner",        "group.id",
                                        "auto.offset.reset",  "session.timeout.ms"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char key[128], say[128];
        snprintf(key, sizeof(key), "kafka.properties.%s", names[i]);
        snprintf(say, sizeof(say), "'kafka.properties.%s' cannot be set: ", names[i]);
        assert_false(load(key, "x"));
        assert_int_equal(err.code, ERR_CONFIG);
        assert_memory_equal(err.text, say, strlen(say));
    }
}

static void topic_prefix_must_be_a_topic_name(void **state)
{
    (void)state;
    assert_true(load("topics.prefix", "My-team_2.quern"));
    assert_false(load("topics.prefix", ""));
    assert_false(load("topics.prefix", "a b"));
    assert_false(load("topics.prefix", "caf\xc3\xa9"));
}

static void models_stay_at_the_allowed_addresses(void **state)
{
    (void)state;
    struct str allowed[] = {STR("api.openai.com"), STR(".azure.example"),
                            STR("https://gate.example/llm")};
    const struct {
        const char *url; /* "": the provider's own */
        bool good;
    } cases[] = {
        {"", true},
        {"https://API.openai.com:443/x", true},
        {"http://api.openai.com", true},
        {"https://api.openai.com.evil.example", false},
        {"https://evil.example/api.openai.com", false},
        {"https://evil.example/https://api.openai.com", false},
        {"https://a.azure.example", true},
        {"https://a.b.azure.example/", true},
        {"https://azure.example", false},
        {"https://xazure.example", false},
        {"https://gate.example/llm", true},
        {"https://gate.example/llm/a", true},
        {"https://gate.example/llmx", false},
        {"https://gate.example", false},
        {"http://gate.example/llm", false},
        {"https://[::1]:80/", false},
    };
    assert_true(load(NULL, NULL));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct model_conf model = {
            .name = STR("m"), .provider = STR("openai"), .base_url = str_of(cases[i].url)};
        conf.shared.models = (struct conf_items){&model, 1};
        conf.shared.allowed_addresses = (struct conf_strs){allowed, 3};
        if (shared_conf_check(&conf.shared, NULL, &err) != cases[i].good)
            fail_msg("%s", cases[i].url);
        if (!cases[i].good)
            assert_non_null(strstr(err.text, "providers.allowed_addresses"));
        conf.shared.allowed_addresses = (struct conf_strs){NULL, 0};
        assert_true(shared_conf_check(&conf.shared, NULL, &err));
    }
}

#define AZURE .name = STR("m"), .provider = STR("azure")

/* One model with sound members but for what the case changes. */
static void models_are_checked_one_by_one(void **state)
{
    (void)state;
    struct str headers_bad[] = {STR("X-A\r\nX-B")}, headers_good[] = {STR("X-A")},
               value[] = {STR("1")}, value_bad[] = {STR("1\n")}, nothing[] = {STR("")},
               with_value[] = {STR("X-A: 1")}, many[13], length[] = {STR("CONTENT-length")};
    for (size_t i = 0; i < 13; i++)
        many[i] = STR("X-A");
    static const char long_name[200] = {[0 ... 198] = 'm'};
    const struct {
        struct model_conf model;
        const char *say; /* NULL: taken */
    } cases[] = {
        {{.name = STR("m"), .base_url = STR("https://h/v1")}, NULL},
        {{.name = STR("m"), .headers = {headers_good, value, 1}}, NULL},
        {{.name = STR("m"), .base_url = STR("ftp://h")}, "'models.m.base_url' must begin"},
        {{.name = STR("m"), .base_url = STR("http://h\n")}, "'models.m.base_url' has a line"},
        {{.name = STR("m"), .api_key = STR("sk-\r\n")}, "'models.m.api_key' has a line break"},
        {{.name = STR("m"), .headers = {headers_bad, value, 1}}, "'models.m.headers' has"},
        {{.name = STR("m"), .headers = {headers_good, value_bad, 1}}, "'models.m.headers' has"},
        {{.name = STR("m"), .headers = {nothing, value, 1}}, "'models.m.headers' has"},
        {{.name = STR("m"), .headers = {with_value, value, 1}}, "'models.m.headers' has a name"},
        {{.name = STR("m"), .headers = {many, many, 12}}, NULL},
        {{.name = STR("m"), .headers = {many, many, 13}}, "'models.m.headers' has more than 12"},
        {{.name = {long_name, 199}}, "' must be at most 128 bytes"},
        {{.name = STR("m"), .base_url = STR("h:80")}, "'models.m.base_url' must begin"},
        {{.name = STR("m"), .base_url = STR("http://h/a?b=c")}, "'models.m.base_url' must be an"},
        {{.name = STR("m"), .base_url = STR("http://h/#a")}, "'models.m.base_url' must be an"},
        {{.name = STR("m"), .base_url = STR("http://h /")}, "'models.m.base_url' must be an"},
        {{.name = STR("m"), .base_url = STR("http://[::1]:80/v1")}, NULL},
        {{.name = STR("m"), .base_url = STR("http://")}, "'models.m.base_url' must name a host"},
        {{.name = STR("m"), .base_url = STR("https:///v1")}, "must name a host"},
        {{.name = STR("m"), .base_url = STR("http://:80")}, "must name a host"},
        {{.name = STR("m"), .base_url = STR("http://[::1")}, "must name a host"},
        {{.name = STR("m"), .base_url = STR("http://h:0")}, "must name a host"},
        {{.name = STR("m"), .base_url = STR("http://h:x")}, "must name a host"},
        {{.name = STR("m"), .base_url = STR("http://u:sk-1@h")}, "and no user"},
        {{.name = STR("m"), .base_url = STR("http://h\\@evil")}, "must name a host"},
        {{.name = STR("m"), .base_url = STR("http://evil\\@h")}, "must name a host"},
        {{.name = STR("m"), .headers = {length, value, 1}}, "which are the worker's own"},
        {{.name = STR("m"), .provider = STR("qwen")}, NULL},
        {{.name = STR("m"), .http = STR("2"), .provider = STR("qwen")}, NULL},
        {{.name = STR("m"), .http = STR("2"), .base_url = STR("https://h")}, NULL},
        {{.name = STR("m"), .http = STR("2"), .base_url = STR("http://h")}, "'models.m.http' can"},
        {{.name = STR("m"), .http = STR("2"), .provider = STR("ollama")}, "'models.m.http' can"},
        {{.name = STR("m"), .ca_file = STR("/dev/null")}, NULL},
        {{.name = STR("m"), .ca_file = STR("/no/ca.pem")}, "'models.m.ca_file' names a file"},
        {{AZURE, .api_version = STR("2024-10-21")}, "'models.m.base_url' must be set: this"},
        {{AZURE, .api_version = STR("2025-01-01-preview"), .base_url = STR("https://r")}, NULL},
        {{AZURE, .api_version = STR(""), .base_url = STR("https://r")}, "'models.m.api_version'"},
        {{AZURE, .api_version = STR("1&a=b"), .base_url = STR("https://r")}, "be a date such as"},
    };
    assert_true(load(NULL, NULL));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct model_conf model = cases[i].model;
        conf.shared.models = (struct conf_items){&model, 1};
        bool good = shared_conf_check(&conf.shared, NULL, &err);
        assert_int_equal(good, cases[i].say == NULL);
        if (!good && !strstr(err.text, cases[i].say))
            fail_msg("'%s' is not in '%s'", cases[i].say, err.text);
        assert_null(good ? NULL : strstr(err.text, "sk-")); /* keys are not told */
    }
}

static void every_provider_may_be_chosen(void **state)
{
    (void)state;
    const struct conf_row *row = model_conf_rows;
    while (strcmp(row->key, "provider") != 0)
        row++;
    struct str rest = str_of(row->choices), choice;
    size_t count = 0;
    for (; str_split(&rest, '|', &choice); count++) {
        const struct provider_facts *facts = provider_facts(choice);
        assert_non_null(facts);
        assert_true(!*facts->home || strncmp(facts->home, "http", 4) == 0);
    }
    assert_true(count >= 8);
    assert_null(provider_facts(STR("nobody")));
}

static void gather(const char *text, void *context)
{
    struct buf *all = context;
    buf_add_str(all, str_of(text));
    buf_add_char(all, '\n');
}

static void a_missing_key_is_told_but_not_refused(void **state)
{
    (void)state;
    struct str token[] = {STR("authorization")}, other[] = {STR("X-A")}, value[] = {STR("1")};
    const struct {
        struct model_conf model;
        const char *variable; /* NULL: nothing is said */
    } cases[] = {
        {{.provider = STR("openai")}, "OPENAI_API_KEY"},
        {{.provider = STR("openai"), .headers = {other, value, 1}}, "OPENAI_API_KEY"},
        {{.provider = STR("openai"), .headers = {token, value, 1}}, NULL},
        {{.provider = STR("openai"), .api_key = STR("k")}, NULL},
        {{.provider = STR("openai"), .base_url = STR("http://h")}, NULL},
        {{.provider = STR("ollama")}, NULL},
        {{.provider = STR("anthropic")}, "ANTHROPIC_API_KEY"},
        {{.provider = STR("deepseek")}, "DEEPSEEK_API_KEY"},
        {{.provider = STR("qwen")}, "DASHSCOPE_API_KEY"},
        {{.provider = STR("azure"), .base_url = STR("https://r")}, "AZURE_OPENAI_API_KEY"},
        {{.provider = STR("azure"), .base_url = STR("https://r"), .headers = {token, value, 1}},
         NULL},
    };
    assert_true(load(NULL, NULL));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct model_conf models[] = {cases[i].model, {.provider = STR("ollama")}};
        struct buf said;
        buf_init(&said, 10000);
        models[0].name = STR("m");
        models[0].api_version = STR("2024-10-21");
        conf.shared.models = (struct conf_items){models, 2};
        assert_true(shared_conf_check(&conf.shared, NULL, &err));
        shared_conf_each_warning(&conf.shared, gather, &said);
        assert_int_equal(said.len > 0, cases[i].variable != NULL);
        buf_add_char(&said, '\0');
        if (cases[i].variable) {
            assert_non_null(strstr(said.data, "'models.m.api_key' is not set"));
            assert_non_null(strstr(said.data, cases[i].variable));
        }
        buf_done(&said);
    }
}

static void default_model_must_be_one_of_the_models(void **state)
{
    (void)state;
    struct model_conf model = {.name = STR("there")};
    assert_true(load("default_model", "elsewhere")); /* no models here: not ours to judge */
    conf.shared.models = (struct conf_items){&model, 1};
    assert_false(shared_conf_check(&conf.shared, NULL, &err));
    assert_string_equal(err.text,
                        "'default_model' names the model 'elsewhere', which is not configured");
    conf.shared.default_model = STR("there");
    assert_true(shared_conf_check(&conf.shared, NULL, &err));
}

/* Two models, and one route with sound members but for what the case changes. */
static void routes_are_checked_one_by_one(void **state)
{
    (void)state;
    struct str a[] = {STR("a")}, none[] = {STR("c")}, twice[] = {STR("a"), STR("a=2")},
               weights[] = {STR("a = 2.5"), STR("b=0")}, bad[] = {STR("a=-1")},
               word[] = {STR("a=much")}, many[17];
    for (size_t i = 0; i < 17; i++)
        many[i] = STR("a");
    const struct {
        struct route_conf route;
        const char *say; /* NULL: taken */
    } cases[] = {
        {{.models = {a, 1}}, NULL},
        {{.models = {weights, 2}}, NULL},
        {{.models = {a, 1}, .context_models = {a, 1}}, NULL},
        {{.models = {a, 0}}, "'routes.r.models' is empty"},
        {{.models = {none, 1}},
         "'routes.r.models[0]' names the model 'c', which is not configured"},
        {{.models = {twice, 2}},
         "'routes.r.models[1]' names 'a' a second time, the first is routes.r.models[0]"},
        {{.models = {bad, 1}}, "'routes.r.models[0]' must be a model, or"},
        {{.models = {word, 1}}, "as in large=3; is 'a=much'"},
        {{.models = {many, 17}}, "'routes.r.models' has more than 16 models"},
        {{.models = {a, 1}, .context_models = {none, 1}},
         "'routes.r.context_models[0]' names the model"},
        {{.models = {a, 1}, .filter_models = {weights, 1}},
         "'routes.r.filter_models[0]' names the model"},
    };
    struct model_conf models[] = {{.name = STR("a")}, {.name = STR("b")}};
    assert_true(load(NULL, NULL));
    conf.shared.models = (struct conf_items){models, 2};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct route_conf route = cases[i].route;
        route.name = STR("r");
        conf.shared.routes = (struct conf_items){&route, 1};
        bool good = shared_conf_check(&conf.shared, NULL, &err);
        assert_int_equal(good, cases[i].say == NULL);
        if (cases[i].say && !strstr(err.text, cases[i].say))
            fail_msg("%s is not in %s", cases[i].say, err.text);
    }
}

static void fallbacks_and_default_routes_are_checked(void **state)
{
    (void)state;
    struct str self[] = {STR("a")}, none[] = {STR("c")}, other[] = {STR("b")};
    struct model_conf models[] = {{.name = STR("a")}, {.name = STR("b")}};
    struct route_conf route = {.name = STR("r"), .models = {other, 1}};
    assert_true(load(NULL, NULL));
    conf.shared.models = (struct conf_items){models, 2};
    conf.shared.routes = (struct conf_items){&route, 1};
    models[0].fallback = (struct conf_strs){other, 1};
    assert_true(shared_conf_check(&conf.shared, NULL, &err));
    models[0].fallback = (struct conf_strs){self, 1};
    assert_false(shared_conf_check(&conf.shared, NULL, &err));
    assert_string_equal(err.text, "'models.a.fallback[0]' names the model itself");
    models[0].fallback = (struct conf_strs){none, 1};
    assert_false(shared_conf_check(&conf.shared, NULL, &err));
    assert_string_equal(err.text,
                        "'models.a.fallback[0]' names the model 'c', which is not configured");
    models[0].fallback = (struct conf_strs){0};
    conf.shared.default_route = STR("r");
    assert_true(shared_conf_check(&conf.shared, NULL, &err));
    conf.shared.default_model = STR("a");
    assert_false(shared_conf_check(&conf.shared, NULL, &err));
    assert_non_null(strstr(err.text, "are both set"));
    conf.shared.default_model = STR("");
    conf.shared.default_route = STR("s");
    assert_false(shared_conf_check(&conf.shared, NULL, &err));
    assert_string_equal(err.text, "'default_route' names the route 's', which is not configured");
}

static void tenants_have_names(void **state)
{
    (void)state;
    struct tenant_conf tenants[] = {{.name = STR("acme")}, {.name = STR("")}};
    assert_true(load(NULL, NULL));
    conf.shared.tenants = (struct conf_items){tenants, 2};
    assert_false(shared_conf_check(&conf.shared, NULL, &err));
    assert_string_equal(err.text, "'tenants..name' must be 1 to 64 bytes without line breaks");
    tenants[1].name = STR("other");
    assert_true(shared_conf_check(&conf.shared, NULL, &err));
}

static void note(const char *text, void *context)
{
    snprintf(context, 512, "%s", text);
}

static void a_budget_without_prices_is_warned_of(void **state)
{
    (void)state;
    struct model_conf model = {
        .name = STR("m"), .provider = STR("ollama"), .price_input = NAN, .price_output = 1};
    struct tenant_conf tenant = {.name = STR("acme"), .budget_month = 5};
    char said[512] = "";
    assert_true(load(NULL, NULL));
    conf.shared.models = (struct conf_items){&model, 1};
    shared_conf_each_warning(&conf.shared, note, said);
    assert_null(strstr(said, "budget"));
    conf.shared.tenants = (struct conf_items){&tenant, 1};
    shared_conf_each_warning(&conf.shared, note, said);
    assert_non_null(strstr(said, "no 'budget_day' or 'budget_month' holds them"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(defaults_reach_the_doors),
        T(empty_redis_url_switches_redis_off),
        T(reserved_kafka_properties_are_refused_with_a_reason),
        T(topic_prefix_must_be_a_topic_name),
        T(models_are_checked_one_by_one),
        T(models_stay_at_the_allowed_addresses),
        T(every_provider_may_be_chosen),
        T(a_missing_key_is_told_but_not_refused),
        T(default_model_must_be_one_of_the_models),
        T(routes_are_checked_one_by_one),
        T(fallbacks_and_default_routes_are_checked),
        T(tenants_have_names),
        T(a_budget_without_prices_is_warned_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
