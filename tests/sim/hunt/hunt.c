/*
 * hunt.c -- one process per core plays every J-th seed; the parent collects what they found.
 *
 * Where each of them is stands in memory they share, so that a crash is a finding like any other:
 * its seed is named, and the process is started anew behind it. A process that stays at one seed
 * for a minute is ended, and that is a finding too.
 */
#include "tests/sim/hunt/hunt.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/hunt/play.h"

enum { JOBS_MAX = 64, FAILURES_MAX = 1000, STUCK_S = 60, TWICE_EVERY = 100 };

struct found {
    uint64_t seed;
    char text[160];
};

struct board {
    struct {
        uint64_t next, done;
        bool over;
    } jobs[JOBS_MAX];
    size_t failure_count; /* atomic */
    struct found failures[FAILURES_MAX];
};

bool hunt_option(struct hunt *hunt, const char *name, int64_t number)
{
    if (strcmp(name, "--from") == 0)
        hunt->from = (uint64_t)number;
    else if (strcmp(name, "--seeds") == 0)
        hunt->seeds = (uint64_t)number;
    else if (strcmp(name, "--minutes") == 0)
        hunt->minutes = number;
    else if (strcmp(name, "--jobs") == 0)
        hunt->jobs = number < 1 ? 1 : number > JOBS_MAX ? JOBS_MAX : number;
    else if (strcmp(name, "--failures-max") == 0)
        hunt->failures_max = number;
    else if (strcmp(name, "--plant") == 0)
        hunt->plant = number;
    else
        return false;
    return true;
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Said at once, too: a hunt may take hours. */
static void note_failure(struct board *board, uint64_t seed, const char *text)
{
    fprintf(stderr, "seed %llu: %.*s\n", (unsigned long long)seed, (int)strcspn(text, "\n"), text);
    size_t at = __atomic_fetch_add(&board->failure_count, 1, __ATOMIC_SEQ_CST);
    if (at >= FAILURES_MAX)
        return;
    board->failures[at].seed = seed;
    snprintf(board->failures[at].text, sizeof(board->failures[at].text), "%.*s",
             (int)strcspn(text, "\n"), text);
}

static void play_seed(struct board *board, uint64_t seed)
{
    struct schedule schedule;
    struct played played, again;
    schedule_draw(&schedule, seed);
    if (play(&schedule, NULL, &played))
        note_failure(board, seed, played.text);
    if (seed % TWICE_EVERY != 0)
        return;
    play(&schedule, NULL, &again);
    if (again.fingerprint != played.fingerprint)
        note_failure(board, seed, "a second run of the same schedule went another way");
}

static bool enough(const struct hunt *hunt, const struct board *board)
{
    return __atomic_load_n(&board->failure_count, __ATOMIC_SEQ_CST) >=
           (size_t)(hunt->failures_max ? hunt->failures_max : 1);
}

static void work(const struct hunt *hunt, struct board *board, int64_t job, double end_s)
{
    uint64_t end = hunt->from + hunt->seeds;
    for (uint64_t seed = board->jobs[job].next; seed < end; seed += (uint64_t)hunt->jobs) {
        if (seconds_now() > end_s || enough(hunt, board))
            return;
        board->jobs[job].next = seed;
        play_seed(board, seed);
        board->jobs[job].done++;
    }
}

static pid_t start_job(const struct hunt *hunt, struct board *board, int64_t job, double end_s)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        work(hunt, board, job, end_s);
        fflush(stdout);
        _exit(0);
    }
    return pid;
}

/* Whether the process is to be started again, behind the seed that ended it. */
static bool job_ended(const struct hunt *hunt, struct board *board, int64_t job, int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return false;
    char text[80];
    snprintf(text, sizeof(text), "the process ended with %s %d",
             WIFSIGNALED(status) ? "signal" : "code",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    note_failure(board, board->jobs[job].next, text);
    board->jobs[job].next += (uint64_t)hunt->jobs;
    board->jobs[job].done++;
    return !enough(hunt, board);
}

struct watched {
    pid_t pid;
    uint64_t seed;
    double since_s;
};

static void end_if_stuck(struct watched *w, uint64_t seed)
{
    double now = seconds_now();
    if (w->seed != seed || !w->pid) {
        w->seed = seed;
        w->since_s = now;
    } else if (now - w->since_s > STUCK_S) {
        kill(w->pid, SIGKILL);
        w->since_s = now;
    }
}

static void run_jobs(const struct hunt *hunt, struct board *board)
{
    struct watched jobs[JOBS_MAX] = {0};
    double end_s = seconds_now() + (hunt->minutes ? (double)hunt->minutes * 60 : 1e9);
    int64_t alive = hunt->jobs;
    for (int64_t job = 0; job < hunt->jobs; job++) {
        board->jobs[job].next = hunt->from + (uint64_t)job;
        jobs[job].pid = start_job(hunt, board, job, end_s);
    }
    while (alive > 0) {
        const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
        nanosleep(&pause, NULL);
        for (int64_t job = 0; job < hunt->jobs; job++) {
            int status;
            end_if_stuck(&jobs[job], board->jobs[job].next);
            if (!jobs[job].pid || waitpid(jobs[job].pid, &status, WNOHANG) != jobs[job].pid)
                continue;
            jobs[job].pid = 0;
            if (job_ended(hunt, board, job, status))
                jobs[job].pid = start_job(hunt, board, job, end_s);
            else
                alive--;
        }
    }
}

static int by_seed(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    return x->seed < y->seed ? -1 : x->seed > y->seed;
}

static int report(const struct hunt *hunt, struct board *board, double began_s)
{
    size_t failed = board->failure_count < FAILURES_MAX ? board->failure_count : FAILURES_MAX;
    uint64_t done = 0, last = hunt->from;
    double took_s = seconds_now() - began_s;
    for (int64_t job = 0; job < hunt->jobs; job++) {
        done += board->jobs[job].done;
        last = board->jobs[job].next > last ? board->jobs[job].next : last;
    }
    qsort(board->failures, failed, sizeof(board->failures[0]), by_seed);
    for (size_t i = 0; i < failed; i++)
        printf("seed %llu: %s\n", (unsigned long long)board->failures[i].seed,
               board->failures[i].text);
    if (failed && !hunt->plant && strncmp(board->failures[0].text, "the process", 11) != 0)
        hunt_explain(board->failures[0].seed, false);
    printf("%llu schedules, %zu failed, %.1f s, %.0f/s, seeds %llu to %llu\n",
           (unsigned long long)done, failed, took_s, took_s > 0 ? (double)done / took_s : 0,
           (unsigned long long)hunt->from, (unsigned long long)last);
    return failed ? 1 : 0;
}

int hunt(const struct hunt *hunt)
{
    struct board *board =
        mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED) {
        perror("mmap");
        return 2;
    }
    double began_s = seconds_now();
    run_jobs(hunt, board);
    int code = report(hunt, board, began_s);
    munmap(board, sizeof(*board));
    return code;
}
