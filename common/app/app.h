/*
 * app.h -- what every long-running program does around its own work:
 * arguments -> configuration -> log -> loop -> start -> run -> drain -> exit.
 *
 * The program gives one struct app_program; app_main() does the rest: --config, --help, --version,
 * --set key=value, -X kafka.property=value, --log-level; open-file limit; SIGTERM and SIGINT
 * (drain; a second one ends at once), SIGHUP (reload: a bad file keeps the old one and is logged
 * and counted); the operation port with /healthz, /readyz (?verbose), /metrics, /version; systemd's
 * NOTIFY_SOCKET. Exit codes: 0 ok, 1 failure, 2 usage, 69 unavailable, 78 configuration.
 */
#ifndef QUERN_COMMON_APP_APP_H
#define QUERN_COMMON_APP_APP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/app/metrics.h"
#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/data/conf.h"
#include "common/loop/loop.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_UNAVAILABLE = 69, EXIT_CONFIG = 78 };

struct app;

/* Settings that every program has; the program's own conf struct begins with it. */
struct app_conf {
    struct str log_level, log_format;
    struct str http_address; /* operation port; empty: none */
    int64_t drain_timeout_ms;
};
/* The first rows of every program's table. `type` is the program's conf struct, its first member
 * `struct app_conf app`. Section names the program: "worker" gives worker.http_address. */
#define APP_CONF_ROWS(section, address)                                                            \
    {"log.level",                                                                                  \
     CONF_ENUM,                                                                                    \
     "info",                                                                                       \
     0,                                                                                            \
     0,                                                                                            \
     "debug|info|warn|error",                                                                      \
     true,                                                                                         \
     offsetof(struct app_conf, log_level),                                                         \
     NULL,                                                                                         \
     0,                                                                                            \
     "Least important log lines that are written"},                                                \
        {"log.format",                                                                             \
         CONF_ENUM,                                                                                \
         "auto",                                                                                   \
         0,                                                                                        \
         0,                                                                                        \
         "auto|json|text",                                                                         \
         false,                                                                                    \
         offsetof(struct app_conf, log_format),                                                    \
         NULL,                                                                                     \
         0,                                                                                        \
         "JSON lines, text, or by whether stderr is a terminal"},                                  \
        {section ".http_address",                                                                  \
         CONF_STR,                                                                                 \
         address,                                                                                  \
         0,                                                                                        \
         0,                                                                                        \
         NULL,                                                                                     \
         false,                                                                                    \
         offsetof(struct app_conf, http_address),                                                  \
         NULL,                                                                                     \
         0,                                                                                        \
         "Address and port of /healthz, /readyz and /metrics; empty: none; port 0: any free one"}, \
    {                                                                                              \
        section ".drain_timeout", CONF_DURATION, "25s", 100, 3600000, NULL, true,                  \
            offsetof(struct app_conf, drain_timeout_ms), NULL, 0,                                  \
            "After SIGTERM: how long work under way may take before the program leaves anyway"     \
    }

struct app_program {
    const char *name;  /* "quern-worker" */
    const char *about; /* one sentence for --help */
    const struct conf_row *rows;
    size_t conf_size;
    const char *ignore_sections; /* of the shared file, comma separated */
    /* Checks what a table cannot; err says which key. May be NULL. */
    bool (*check)(const void *conf, const struct conf_places *places, struct err *err);
    /* Builds doors and rooms. Failing: ERR_CONFIG exits 78, ERR_UNAVAILABLE 69, else 1. */
    void *(*start)(struct app *app, const void *conf, struct err *err);
    /* Takes the new configuration (already checked) at SIGHUP; the old one stays valid until it
     * returns. May be NULL. */
    void (*reload)(void *program, const void *conf);
    /* Stop taking work; call app_drained() when nothing is left. */
    void (*drain)(void *program);
    void (*stop)(void *program); /* frees everything; takes what start returned */
    /* Why the program is not ready, one "name: reason" line per cause; empty: ready. */
    void (*unready)(const void *program, struct buf *ret);
    /* Sets gauges and writes the program's own lines before /metrics answers. May be NULL. */
    void (*measure)(void *program);
};

int app_main(const struct app_program *program, int argc, char **argv);

struct loop *app_loop(struct app *app);
void app_drained(struct app *app);
/* Leaves the loop; exit code as given, the error logged once. */
void app_fail(struct app *app, const struct err *err, int exit_code);
bool app_draining(const struct app *app);

/* Raises the open-file limit to the hard one; fails when it is below `files`. */
bool app_need_files(uint64_t files, struct err *err);
/* "quern 0.1.0 (commit) librdkafka 2.0.2 .." lines. */
void app_version(const char *program, struct buf *ret);

#endif
