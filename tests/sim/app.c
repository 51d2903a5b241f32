/*
 * app.c -- the simulated body of common/app/app.h and instance.h: processes start, get their
 * signals, reload, drain, and end in good order or by kill -9.
 *
 * Configurations are real ones: the program's own table, filled by conf_load() from its defaults
 * and the scene's settings. As in the real body a generation of the configuration lives until the
 * second reload after it, so whoever keeps a pointer longer is caught by the address sanitizer.
 *
 * kill -9 frees the program's memory by its own stop(), after its doors were cut off: what a dead
 * process cannot do has no effect, and nothing leaks.
 */
#include "common/app/instance.h"
#include "common/app/shared_conf.h"
#include "common/base/log.h"
#include "tests/sim/inside.h"
#include "worker/worker.h"

#include "aggregator/aggregator.h"

#include <stdlib.h>
#include <string.h>

enum { FLAGS_MAX = 64, MODELS_MAX = 32, TENANTS_MAX = 8, WATCH_MS = 2000 };
enum { LIFE_US = 1000 }; /* no two lives of an instance begin in one millisecond */

struct sim_setting {
    struct list_node node;
    char *key, *value;
};

void sim_set(struct sim *sim, const char *key, const char *value)
{
    struct sim_setting *setting = xzalloc(sizeof(*setting));
    LIST_EACH(&sim->settings, node)
    {
        struct sim_setting *old = container_of(node, struct sim_setting, node);
        if (strcmp(old->key, key) != 0)
            continue;
        list_remove(&sim->settings, node);
        free(old->key);
        free(old->value);
        free(old);
    }
    setting->key = xstrndup(str_of(key));
    setting->value = xstrndup(str_of(value));
    list_append(&sim->settings, &setting->node);
}

void sim_settings_free(struct sim *sim)
{
    for (struct list_node *node; (node = list_pop(&sim->settings));) {
        struct sim_setting *setting = container_of(node, struct sim_setting, node);
        free(setting->key);
        free(setting->value);
        free(setting);
    }
}

/* The settings that begin with `prefix`, without it. */
static size_t flags_of_model(struct sim *sim, const char *prefix, struct conf_flag *ret)
{
    size_t count = 0;
    LIST_EACH(&sim->settings, node)
    {
        struct sim_setting *setting = container_of(node, struct sim_setting, node);
        if (!str_starts(str_of(setting->key), str_of(prefix)))
            continue;
        must(count < FLAGS_MAX);
        ret[count++] = (struct conf_flag){setting->key + strlen(prefix), setting->value};
    }
    return count;
}

/* The settings of a program: its own section and what all share. */
static size_t flags_of_program(struct sim *sim, const char *others, struct conf_flag *ret)
{
    size_t count = 0;
    LIST_EACH(&sim->settings, node)
    {
        struct sim_setting *setting = container_of(node, struct sim_setting, node);
        struct str key = str_of(setting->key);
        if (str_starts(key, STR("models.")) || str_starts(key, STR("routes.")) ||
            str_starts(key, STR("tenants.")) || str_starts(key, str_of(others)))
            continue;
        must(count < FLAGS_MAX);
        ret[count++] = (struct conf_flag){setting->key, setting->value};
    }
    return count;
}

static void load_model(struct sim *sim, const char *name, struct arena *arena,
                       struct model_conf *ret)
{
    struct err err = {0};
    char prefix[160];
    struct conf_flag flags[FLAGS_MAX + 3];
    snprintf(prefix, sizeof(prefix), "models.%s.", name);
    size_t count = flags_of_model(sim, prefix, flags);
    flags[count++] = (struct conf_flag){"name", name};
    flags[count++] =
        (struct conf_flag){"base_url", arena_printf(arena, "http://%s.example", name).data};
    const struct conf_source source = {.flags = flags, .flag_count = count};
    if (!conf_load(model_conf_rows, &source, arena, ret, &err))
        must_not_reach("a model's settings that are usable");
}

static void load_models(struct sim *sim, struct arena *arena, struct shared_conf *shared)
{
    const char *names[MODELS_MAX];
    size_t count = sim_provider_names(sim, names, MODELS_MAX);
    struct model_conf *models = arena_array(arena, struct model_conf, count + 1);
    for (size_t i = 0; i < count; i++)
        load_model(sim, names[i], arena, &models[i]);
    shared->models.items = models;
    shared->models.count = count;
}

/* "routes.NAME.models": NAME. */
static struct str route_of(const struct sim_setting *setting)
{
    struct str rest = str_of(setting->key), name = {0};
    str_split(&rest, '.', &name);
    bool is_route = str_is(name, "routes") && str_split(&rest, '.', &name);
    return is_route ? name : (struct str){0};
}

static void load_route(struct sim *sim, struct str name, struct arena *arena,
                       struct route_conf *ret)
{
    struct err err = {0};
    struct conf_flag flags[FLAGS_MAX + 1];
    struct str prefix = arena_printf(arena, "routes." STR_FMT ".", STR_ARG(name));
    size_t count = flags_of_model(sim, prefix.data, flags);
    flags[count++] = (struct conf_flag){"name", arena_str(arena, name).data};
    const struct conf_source source = {.flags = flags, .flag_count = count};
    if (!conf_load(route_conf_rows, &source, arena, ret, &err))
        must_not_reach("a route's settings that are usable");
}

static void load_routes(struct sim *sim, struct arena *arena, struct shared_conf *shared)
{
    struct route_conf *routes = arena_array(arena, struct route_conf, MODELS_MAX);
    size_t count = 0;
    LIST_EACH(&sim->settings, node)
    {
        struct str name = route_of(container_of(node, struct sim_setting, node));
        bool known = !name.data;
        for (size_t i = 0; i < count; i++)
            known |= str_eq(routes[i].name, name);
        must(count < MODELS_MAX);
        if (!known)
            load_route(sim, name, arena, &routes[count++]);
    }
    shared->routes.items = routes;
    shared->routes.count = count;
}

static void load_tenant(struct sim *sim, struct str name, struct arena *arena,
                        struct tenant_conf *ret)
{
    struct err err = {0};
    char prefix[160];
    struct conf_flag flags[FLAGS_MAX + 1];
    snprintf(prefix, sizeof(prefix), "tenants." STR_FMT ".", STR_ARG(name));
    size_t count = flags_of_model(sim, prefix, flags);
    flags[count++] = (struct conf_flag){"name", arena_str(arena, name).data};
    const struct conf_source source = {.flags = flags, .flag_count = count};
    if (!conf_load(tenant_conf_rows, &source, arena, ret, &err))
        must_not_reach("a tenant's settings that are usable");
}

/* Each tenant that a setting "tenants.NAME.key" names. */
static void load_tenants(struct sim *sim, struct arena *arena, struct shared_conf *shared)
{
    struct tenant_conf *tenants = arena_array(arena, struct tenant_conf, TENANTS_MAX);
    shared->tenants = (struct conf_items){tenants, 0};
    LIST_EACH(&sim->settings, node)
    {
        struct str key = str_of(container_of(node, struct sim_setting, node)->key), name;
        bool known = !str_split(&key, '.', &name) || !str_is(name, "tenants") ||
                     !str_split(&key, '.', &name);
        for (size_t i = 0; i < shared->tenants.count && !known; i++)
            known = str_eq(tenants[i].name, name);
        if (known)
            continue;
        must(shared->tenants.count < TENANTS_MAX);
        load_tenant(sim, name, arena, &tenants[shared->tenants.count++]);
    }
}

bool sim_is_aggregator(const struct sim_process *process)
{
    return process->program == &aggregator_program;
}

static struct shared_conf *shared_of(const struct sim_process *process, void *conf)
{
    return sim_is_aggregator(process) ? &((struct aggregator_conf *)conf)->shared
                                      : &((struct worker_conf *)conf)->shared;
}

static struct generation *load(struct sim_process *process)
{
    struct err err = {0};
    struct conf_flag flags[FLAGS_MAX];
    struct generation *generation = xzalloc(sizeof(*generation));
    arena_init(&generation->arena, NULL, SIM_TEXT_MAX);
    generation->conf = arena_zalloc(&generation->arena, process->program->conf_size);
    bool aggregator = sim_is_aggregator(process);
    size_t count = flags_of_program(process->sim, aggregator ? "worker." : "aggregator.", flags);
    must(count < FLAGS_MAX);
    flags[count++] =
        (struct conf_flag){aggregator ? "aggregator.instance" : "worker.instance", process->name};
    const struct conf_source source = {.flags = flags, .flag_count = count};
    if (!conf_load(process->program->rows, &source, &generation->arena, generation->conf, &err)) {
        fprintf(stderr, "sim: %s\n", err.text);
        must_not_reach("settings that are usable");
    }
    load_models(process->sim, &generation->arena, shared_of(process, generation->conf));
    load_routes(process->sim, &generation->arena, shared_of(process, generation->conf));
    load_tenants(process->sim, &generation->arena, shared_of(process, generation->conf));
    if (process->program->check && !process->program->check(generation->conf, NULL, &err)) {
        fprintf(stderr, "sim: %s\n", err.text);
        must_not_reach("settings that the program accepts");
    }
    return generation;
}

static void generation_free(struct generation *generation)
{
    if (!generation)
        return;
    arena_done(&generation->arena);
    free(generation);
}

/* Asks what /readyz and /metrics ask, as somebody always does. */
static void watch(void *context)
{
    struct sim_process *process = context;
    struct buf why;
    buf_init(&why, SIM_TEXT_MAX);
    process->program->unready(process->state, &why);
    process->program->measure(process->state);
    buf_done(&why);
    timer_set(process->loop, &process->watch_timer, loop_now_ms(process->loop) + WATCH_MS, watch,
              process);
}

static struct sim_process *start(struct sim *sim, const char *name,
                                 const struct app_program *program)
{
    struct sim_process *process = xzalloc(sizeof(*process));
    struct err err = {0};
    process->sim = sim;
    process->name = xstrndup(str_of(name));
    process->program = program;
    process->app.process = process;
    process->loop = sim_loop_new(sim, process, sim->seed * 1000003 + ++sim->lives);
    process->now = load(process);
    process->running = true;
    list_init(&process->held);
    list_append(&sim->processes, &process->node);
    process->state = process->program->start(&process->app, process->now->conf, &err);
    if (!process->state) {
        fprintf(stderr, "sim: %s: %s\n", name, err.text);
        must_not_reach("a program that starts");
    }
    watch(process);
    return process;
}

static struct sim_process *start_aggregator(struct sim *sim, const char *name)
{
    sim->aggregator_wanted = true;
    struct sim_process *process = start(sim, name, &aggregator_program);
    if (sim->aggregator_paused)
        sim_stop(process);
    return process;
}

struct sim_process *sim_aggregator(struct sim *sim, const char *name)
{
    sim->now_us += LIFE_US;
    return start_aggregator(sim, name);
}

struct sim_process *sim_worker(struct sim *sim, const char *name)
{
    sim->now_us += LIFE_US;
    if (!sim->aggregator_wanted && !sim->aggregator_unwanted)
        start_aggregator(sim, "aggregator");
    return start(sim, name, &worker_program);
}

void sim_no_aggregator(struct sim *sim)
{
    sim->aggregator_unwanted = true;
}

bool sim_aggregators_work(const struct sim *sim)
{
    return sim->aggregator_wanted && !sim->aggregator_paused;
}

void sim_aggregator_pause(struct sim *sim, bool pause)
{
    sim->aggregator_paused = pause;
    LIST_EACH(&sim->processes, node)
    {
        struct sim_process *process = container_of(node, struct sim_process, node);
        if (!process->running || !sim_is_aggregator(process) || process->stopped == pause)
            continue;
        if (pause)
            sim_stop(process);
        else
            sim_continue(process);
    }
}

/* Ends and beginnings */

void sim_process_end(struct sim_process *process)
{
    if (!process->running)
        return;
    process->program->stop(process->state);
    process->running = false;
    process->state = NULL;
    process->consumer = NULL;
    timer_cancel(process->loop, &process->drain_timer);
    timer_cancel(process->loop, &process->watch_timer);
    loop_free(process->loop);
    process->loop = NULL;
    generation_free(process->before);
    generation_free(process->now);
    process->before = process->now = NULL;
}

void sim_process_free(struct sim_process *process)
{
    free(process->name);
    free(process);
}

void sim_process_check(struct sim_process *process)
{
    if (process->killed)
        process->exit_code = -9;
    if (process->killed || process->leaving)
        sim_process_end(process);
}

void sim_kill(struct sim_process *process)
{
    process->killed = true;
    process->exit_code = -9;
    sim_process_end(process);
}

static void drain_over(void *context)
{
    struct sim_process *process = context;
    process->leaving = true;
}

void sim_term(struct sim_process *process)
{
    const struct app_conf *conf = process->now->conf;
    must(process->running && !process->draining);
    process->draining = true;
    timer_set(process->loop, &process->drain_timer,
              loop_now_ms(process->loop) + conf->drain_timeout_ms, drain_over, process);
    sim_wake(process);
    process->program->drain(process->state);
}

void sim_reload(struct sim_process *process)
{
    struct generation *next = load(process);
    conf_keep_fixed(process->program->rows, process->now->conf, next->conf, &next->arena);
    process->program->reload(process->state, next->conf);
    generation_free(process->before);
    process->before = process->now;
    process->now = next;
    sim_wake(process);
}

bool sim_running(const struct sim_process *process)
{
    return process->running;
}

size_t sim_records_held(const struct sim_process *process)
{
    return process->records_held;
}

size_t sim_calls_held(const struct sim_process *process)
{
    return process->calls_held;
}

bool sim_draining(const struct sim_process *process)
{
    return process->running && process->draining;
}

int sim_exit_code(const struct sim_process *process)
{
    return process->exit_code;
}

bool sim_drained(const struct sim_process *process)
{
    return process->drained;
}

/* What programs ask of their surroundings */

struct loop *app_loop(struct app *app)
{
    return app->process->loop;
}

void app_drained(struct app *app)
{
    if (!app->process->draining)
        return;
    app->process->drained = app->process->leaving = true;
    sim_wake(app->process);
}

void app_fail(struct app *app, const struct err *err, int exit_code)
{
    log_warn("a program leaves by itself", LOG_C("name", app->process->name),
             LOG_C("error", err->text));
    app->process->exit_code = exit_code;
    app->process->leaving = true;
    sim_wake(app->process);
}

bool app_draining(const struct app *app)
{
    return app->process->draining;
}

bool app_need_files(uint64_t files, struct err *err)
{
    (void)files, (void)err;
    return true;
}

/* The setting worker.instance or aggregator.instance is the process's name, see load(). */
bool instance_acquire(struct str dir, const char *program, struct str base, char *ret, size_t size,
                      struct err *err)
{
    (void)dir, (void)program, (void)err;
    snprintf(ret, size, STR_FMT, STR_ARG(base));
    return true;
}
