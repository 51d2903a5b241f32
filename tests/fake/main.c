/*
 * main.c -- quern-fake: a stand-in for OpenAI, Anthropic and Ollama that keeps a ledger.
 *
 * Reads the flags, raises the descriptor limit, says where it listens, serves until SIGTERM.
 * README.md lists every flag; `usage` below is the same list.
 */
#include "tests/fake/service.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define LEDGER_DEFAULT 1000000
#define LEDGER_LIMIT   100000000

static const char usage[] =
    "usage: quern-fake [flags]\n"
    "  --port N                 TCP port; 0 picks one (default 0)\n"
    "  --bind ADDRESS           IPv4 address (default 127.0.0.1)\n"
    "  --latency L              0, 500, 500ms or lognormal:MEDIAN_MS,SIGMA (default 0)\n"
    "  --error-rate CODE:RATE   share of calls answered with this status; repeatable\n"
    "  --trouble NAME:RATE      share of calls that fare as with this model; repeatable\n"
    "  --retry-after SECONDS    Retry-After header on 429, 503 and 529\n"
    "  --seed N                 of latencies and error rates (default 1)\n"
    "  --ledger-max N           records kept (default 1000000)\n"
    "  --api-key KEY            accept only this key; repeatable\n"
    "  --limit RULE             "
    "key=K,model=M,requests=N,tokens=N,window=MS,count=actual|estimate,\n"
    "                           silent; every part may be left out; repeatable\n"
    "  --first-token MS         of streams: from the head to the first event (default 0)\n"
    "  --chunk-delay MS         of streams: from one event to the next (default 0)\n"
    "  --vendor NAME            who answers on /v1/chat/completions (default openai)\n"
    "  --help\n";

struct options {
    const char *address;
    unsigned long long port, seed, ledger_max;
    struct behave_conf behave;
    const char *keys[KEYS_MAX];
    size_t keys_len;
    struct limit_rule rules[LIMIT_RULES_MAX];
    size_t rules_len;
};

enum {
    OPT_PORT = 1,
    OPT_BIND,
    OPT_LATENCY,
    OPT_ERROR_RATE,
    OPT_TROUBLE,
    OPT_RETRY_AFTER,
    OPT_SEED,
    OPT_LEDGER_MAX,
    OPT_API_KEY,
    OPT_LIMIT,
    OPT_FIRST_TOKEN,
    OPT_CHUNK_DELAY,
    OPT_VENDOR,
    OPT_HELP
};

// clang-format off
static const struct option flags[] = {
    {"port",        required_argument, NULL, OPT_PORT},
    {"bind",        required_argument, NULL, OPT_BIND},
    {"latency",     required_argument, NULL, OPT_LATENCY},
    {"error-rate",  required_argument, NULL, OPT_ERROR_RATE},
    {"trouble",     required_argument, NULL, OPT_TROUBLE},
    {"retry-after", required_argument, NULL, OPT_RETRY_AFTER},
    {"seed",        required_argument, NULL, OPT_SEED},
    {"ledger-max",  required_argument, NULL, OPT_LEDGER_MAX},
    {"api-key",     required_argument, NULL, OPT_API_KEY},
    {"limit",       required_argument, NULL, OPT_LIMIT},
    {"first-token", required_argument, NULL, OPT_FIRST_TOKEN},
    {"chunk-delay", required_argument, NULL, OPT_CHUNK_DELAY},
    {"vendor",      required_argument, NULL, OPT_VENDOR},
    {"help",        no_argument,       NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};
// clang-format on

static bool number_in(const char *text, unsigned long long min, unsigned long long max,
                      unsigned long long *ret)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-' || number < min || number > max)
        return false;
    *ret = number;
    return true;
}

static bool read_error_rate(struct behave_conf *conf, const char *text)
{
    char *end;
    long status = strtol(text, &end, 10);
    if (*end != ':' || status < 0 || status > 999)
        return false;
    const char *rate_text = end + 1;
    double rate = strtod(rate_text, &end);
    return end != rate_text && *end == '\0' && behave_rate(conf, (int)status, rate);
}

static bool read_trouble(struct behave_conf *conf, const char *text)
{
    const char *colon = strrchr(text, ':');
    if (!colon)
        return false;
    char *end;
    double rate = strtod(colon + 1, &end);
    struct slice name = {.at = text, .len = (size_t)(colon - text)};
    return end != colon + 1 && *end == '\0' && behave_trouble(conf, name, rate);
}

static bool read_key(struct options *options, const char *key)
{
    if (options->keys_len == KEYS_MAX || *key == '\0')
        return false;
    options->keys[options->keys_len++] = key;
    return true;
}

static bool read_retry_after(struct behave_conf *conf, const char *text)
{
    unsigned long long seconds;
    if (!number_in(text, 0, 86400, &seconds))
        return false;
    conf->retry_after_s = (int)seconds;
    return true;
}

static bool read_ms(const char *text, uint32_t *ret)
{
    unsigned long long ms;
    if (!number_in(text, 0, LATENCY_MS_MAX, &ms))
        return false;
    *ret = (uint32_t)ms;
    return true;
}

static bool read_flag(struct options *options, int flag, const char *value)
{
    switch (flag) {
    case OPT_PORT:
        return number_in(value, 0, 65535, &options->port);
    case OPT_BIND:
        options->address = value;
        return true;
    case OPT_LATENCY:
        return latency_parse(value, &options->behave.latency);
    case OPT_ERROR_RATE:
        return read_error_rate(&options->behave, value);
    case OPT_TROUBLE:
        return read_trouble(&options->behave, value);
    case OPT_RETRY_AFTER:
        return read_retry_after(&options->behave, value);
    case OPT_SEED:
        return number_in(value, 0, UINT64_MAX, &options->seed);
    case OPT_LEDGER_MAX:
        return number_in(value, 1, LEDGER_LIMIT, &options->ledger_max);
    case OPT_API_KEY:
        return read_key(options, value);
    case OPT_LIMIT:
        return options->rules_len < LIMIT_RULES_MAX &&
               limit_rule_parse(value, &options->rules[options->rules_len++]);
    case OPT_FIRST_TOKEN:
        return read_ms(value, &options->behave.first_token_ms);
    case OPT_CHUNK_DELAY:
        return read_ms(value, &options->behave.chunk_delay_ms);
    case OPT_VENDOR:
        return vendor_of_model(slice_of(value), &options->behave.vendor) &&
               vendor_parse(slice_of(value), &options->behave.vendor);
    default:
        return false;
    }
}

/* Ends the program on --help and on anything it does not understand. */
static void read_options(int argc, char **argv, struct options *ret)
{
    *ret =
        (struct options){.address = "127.0.0.1",
                         .seed = 1,
                         .ledger_max = LEDGER_DEFAULT,
                         .behave = {.retry_after_s = -1, .redirect = "http://elsewhere.invalid"}};
    for (;;) {
        int index = 0;
        int flag = getopt_long(argc, argv, "", flags, &index);
        if (flag == -1)
            break;
        if (flag == OPT_HELP) {
            fputs(usage, stdout);
            exit(0);
        }
        if (flag != '?' && read_flag(ret, flag, optarg))
            continue;
        if (flag != '?')
            fprintf(stderr, "quern-fake: bad value '%s' for '--%s'\n",
                    flag == OPT_API_KEY || flag == OPT_LIMIT ? "" : optarg, flags[index].name);
        fputs(usage, stderr);
        exit(2);
    }
    if (optind < argc) {
        fprintf(stderr, "quern-fake: unexpected '%s'\n%s", argv[optind], usage);
        exit(2);
    }
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit); /* what we get is what we serve */
}

static bool serve(const struct options *options, struct service *service)
{
    struct server_service door = service_door(service);
    service->server = server_new(options->address, (uint16_t)options->port, &door);
    if (!service->server) {
        fprintf(stderr, "quern-fake: cannot listen on '%s:%llu': %s\n", options->address,
                options->port, strerror(errno));
        return false;
    }
    printf("listening on %s:%u\n", options->address, server_port(service->server));
    fflush(stdout);
    bool ok = server_run(service->server);
    if (!ok)
        fprintf(stderr, "quern-fake: epoll failed: %s\n", strerror(errno));
    server_free(service->server);
    return ok;
}

int main(int argc, char **argv)
{
    static struct options options;
    read_options(argc, argv, &options);
    raise_descriptor_limit();
    struct service service = {.ledger = ledger_new((size_t)options.ledger_max),
                              .limits = limits_new(),
                              .keys_len = options.keys_len};
    memcpy(service.keys, options.keys, sizeof(options.keys));
    limits_set(service.limits, options.rules, options.rules_len);
    behave_init(&service.behave, &options.behave, options.seed, (size_t)options.ledger_max);
    bool ok = serve(&options, &service);
    behave_done(&service.behave);
    limits_free(service.limits);
    ledger_free(service.ledger);
    return ok ? 0 : 1;
}
