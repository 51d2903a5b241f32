/*
 * test_doors_check.c -- which addresses, properties, connection strings and files are taken, and
 * what is said of the others: the nearest name, and no password.
 */
#include "common/app/doors_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct settings {
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
    err = (struct err){0};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

struct setting {
    const char *key, *value;
    const char *said; /* NULL: taken */
};

static void expect(const struct setting *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct conf_places places = {0};
        const struct conf_flag flag = {cases[i].key, cases[i].value};
        const struct conf_source source = {.flags = &flag, .flag_count = 1, .places = &places};
        memset(&conf, 0, sizeof(conf));
        assert_true(conf_load(rows, &source, &arena, &conf, &err));
        bool good = doors_check(&conf.shared, &places, &err);
        if (good != !cases[i].said)
            fail_msg("%s=%s: %s", cases[i].key, cases[i].value, good ? "taken" : err.text);
        if (good)
            continue;
        assert_int_equal(err.code, ERR_CONFIG);
        if (strncmp(err.text, "command line: '", strlen("command line: '")) != 0 ||
            !strstr(err.text, cases[i].said) || strstr(err.text, "s3cr3t"))
            fail_msg("%s=%s: %s", cases[i].key, cases[i].value, err.text);
    }
}

#define EXPECT(cases)  expect(cases, sizeof(cases) / sizeof((cases)[0]))
#define SERVERS        "kafka.bootstrap_servers"
#define PROPERTY(name) "kafka.properties." name

static void brokers_are_hosts_with_ports(void **state)
{
    (void)state;
    static const struct setting cases[] = {
        {SERVERS, "a:9092", NULL},
        {SERVERS, " a:9092 , b:1 ", NULL},
        {SERVERS, "a", NULL},
        {SERVERS, "[::1]:9092", NULL},
        {SERVERS, "[::1]", NULL},
        {SERVERS, "SASL_SSL://a:65535", NULL},
        {SERVERS, "", "is empty"},
        {SERVERS, " ", "is empty"},
        {SERVERS, ",", "'' is none"},
        {SERVERS, "a:9092,", "'' is none"},
        {SERVERS, "a:0", "'a:0' is none"},
        {SERVERS, "a:65536", "'a:65536' is none"},
        {SERVERS, "a:", "'a:' is none"},
        {SERVERS, ":9092", "':9092' is none"},
        {SERVERS, "::1", "'::1' is none"},
        {SERVERS, "a:1:2", "'a:1:2' is none"},
        {SERVERS, "u@a:9092", "is none"},
        {SERVERS, "a:9092/x", "is none"},
        {SERVERS, "a b:9092", "is none"},
        {SERVERS, "SSL://", "is none"},
    };
    EXPECT(cases);
}

static void kafka_properties_are_asked_of_the_library(void **state)
{
    (void)state;
    static const struct setting cases[] = {
        {PROPERTY("security.protocol"), "SASL_SSL", NULL},
        {PROPERTY("sasl.password"), "s3cr3t", NULL},
        {PROPERTY("ssl.ca.location"), "probe", NULL},
        {PROPERTY("ssl.ca.location"), "/", NULL}, /* a folder of certificates */
        {PROPERTY("ssl.ca.location"), "/no/ca.pem", "names '/no/ca.pem', which cannot be read"},
        {PROPERTY("ssl.key.location"), "/no/key.pem", "names '/no/key.pem', which cannot be read"},
        {PROPERTY("acks"), "1", "cannot be set: a record is safe only"},
        {PROPERTY("linger.ms"), "5", "cannot be set: use 'kafka.linger'"},
        {PROPERTY("sasl.pasword"), "s3cr3t",
         "no property of librdkafka, did you mean 'sasl.password'?"},
        {PROPERTY("zzzz"), "s3cr3t", "is no property of librdkafka"},
        {PROPERTY("socket.timeout.ms"), "1", "is not taken by librdkafka"},
        {PROPERTY("security.protocol"), "TSL", "is not taken by librdkafka"},
    };
    EXPECT(cases);
    assert_null(strchr(err.text, '\n'));
}

static void conninfo_is_asked_of_libpq(void **state)
{
    (void)state;
    static const struct setting cases[] = {
        {"postgres.conninfo", "", NULL},
        {"postgres.conninfo", "quern", NULL}, /* a database's name */
        {"postgres.conninfo", "host=a dbname=b password=s3cr3t", NULL},
        {"postgres.conninfo", "postgresql://u:s3cr3t@h:5432/db?sslmode=require", NULL},
        {"postgres.conninfo", "host=a sslrootcert=system", NULL},
        {"postgres.conninfo", "host=a sslrootcert=/no/ca.pem", "names '/no/ca.pem' as sslrootcert"},
        {"postgres.conninfo", "host=a sslkey=/no/key.pem", "names '/no/key.pem' as sslkey"},
        {"postgres.conninfo", "hots=a password=s3cr3t", "no option 'hots', did you mean 'host'?"},
        {"postgres.conninfo", "postgres://u:s3cr3t@h/d?sslmod=x", "did you mean 'sslmode'?"},
        {"postgres.conninfo", "host=a s3cr3t", "is neither a URI"},
        {"postgres.conninfo", "s3cr3t=a", "is neither a URI"},
        {"postgres.conninfo", "password='s3cr3t", "is neither a URI"},
    };
    EXPECT(cases);
}

static void redis_url_must_be_one(void **state)
{
    (void)state;
    static const struct setting cases[] = {
        {"redis.url", "", NULL},
        {"redis.url", "redis://:s3cr3t@a:6379/0", NULL},
        {"redis.url", "unix:///run/redis.sock", NULL},
        {"redis.url", "a:6379", "cannot be used: the scheme is missing or unknown"},
        {"redis.url", "rediss://a", "cannot be used: TLS (rediss://) is not supported"},
        {"redis.url", "redis://:s3cr3t@a:0", "cannot be used: the port is not a number"},
    };
    EXPECT(cases);
}

static void operation_port_is_host_and_port(void **state)
{
    (void)state;
    static const char *const good[] = {"", ":9101", "127.0.0.1:0", "[::]:9101", "localhost:65535"};
    static const char *const bad[] = {"9101", "host", "host:", "host:65536", "::1:9101", "host:-1"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (!doors_check_port(STR("worker.http_address"), str_of(good[i]), NULL, &err))
            fail_msg("%s: %s", good[i], err.text);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (doors_check_port(STR("worker.http_address"), str_of(bad[i]), NULL, &err))
            fail_msg("%s is taken", bad[i]);
    assert_string_equal(err.text, "'worker.http_address' must be HOST:PORT, is 'host:-1'");
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(brokers_are_hosts_with_ports),    T(kafka_properties_are_asked_of_the_library),
        T(conninfo_is_asked_of_libpq),      T(redis_url_must_be_one),
        T(operation_port_is_host_and_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
