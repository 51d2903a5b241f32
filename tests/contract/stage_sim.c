/*
 * stage_sim.c -- the stage over the simulated doors of tests/sim.
 *
 * An actor is a process of the simulation without a program: it has a loop, and the doors find the
 * world through it.
 */
#include "tests/contract/stage.h"

#include "tests/sim/inside.h"
#include "tests/sim/kafka_inside.h"

#define ORIGIN "origin"

struct stage {
    struct sim *sim;
    struct sim_process *actors[STAGE_ACTORS];
    unsigned topics;
};

bool stage_has(enum stage_server server)
{
    (void)server;
    return true;
}

struct stage *stage_new(void)
{
    struct stage *stage = xzalloc(sizeof(*stage));
    stage->sim = sim_new(7);
    stage_http_answers(stage, (struct stage_reply){.status = 200});
    return stage;
}

static void actor_free(struct sim_process *process)
{
    if (!process)
        return;
    list_remove(&process->sim->processes, &process->node);
    loop_free(process->loop);
    free(process->name);
    free(process);
}

void stage_free(struct stage *stage)
{
    for (unsigned i = 0; i < STAGE_ACTORS; i++)
        actor_free(stage->actors[i]);
    sim_free(stage->sim);
    free(stage);
}

static struct sim_process *actor_new(struct sim *sim, unsigned number)
{
    struct sim_process *process = xzalloc(sizeof(*process));
    process->sim = sim;
    process->name = xzalloc(16);
    snprintf(process->name, 16, "actor-%u", number);
    process->app.process = process;
    process->running = true;
    list_init(&process->held);
    process->loop = sim_loop_new(sim, process, number + 1);
    list_append(&sim->processes, &process->node);
    return process;
}

struct loop *stage_loop(struct stage *stage, unsigned actor)
{
    must(actor < STAGE_ACTORS);
    if (!stage->actors[actor])
        stage->actors[actor] = actor_new(stage->sim, actor);
    return stage->actors[actor]->loop;
}

int64_t stage_now_ms(struct stage *stage)
{
    return sim_now_ms(stage->sim);
}

void stage_step(struct stage *stage)
{
    sim_run_ms(stage->sim, 1);
}

void stage_run_ms(struct stage *stage, int64_t ms)
{
    sim_run_ms(stage->sim, ms);
}

void stage_stand_still(struct stage *stage, int64_t ms)
{
    for (unsigned i = 0; i < STAGE_ACTORS; i++)
        if (stage->actors[i])
            sim_freeze(stage->actors[i], ms);
    sim_run_ms(stage->sim, ms);
}

static void set_down(struct stage *stage, enum stage_server server, bool down)
{
    if (server == STAGE_KAFKA)
        sim_kafka_down(stage->sim, down);
    else if (server == STAGE_REDIS)
        sim_redis_down(stage->sim, down);
    else
        sim_postgres_down(stage->sim, down);
}

bool stage_down(struct stage *stage, enum stage_server server)
{
    set_down(stage, server, true);
    return true;
}

void stage_up(struct stage *stage, enum stage_server server)
{
    set_down(stage, server, false);
}

void stage_cut(struct stage *stage, enum stage_server server)
{
    if (server == STAGE_POSTGRES) {
        sim_postgres_terminate(stage->sim);
        return;
    }
    set_down(stage, server, true);
    set_down(stage, server, false);
}

const char *stage_topic(struct stage *stage, int32_t partitions)
{
    char name[32];
    snprintf(name, sizeof(name), "contract.%u", stage->topics++);
    sim_partitions(stage->sim, partitions);
    return sim_topic(stage->sim->kafka, name)->name;
}

struct kafka_conf stage_kafka_conf(struct stage *stage)
{
    (void)stage;
    return (struct kafka_conf){.client_id = STR("contract"), .session_timeout_ms = 3000};
}

struct redis_conf stage_redis_conf(struct stage *stage)
{
    (void)stage;
    return (struct redis_conf){.url = STR("redis://sim")};
}

struct postgres_conf stage_postgres_conf(struct stage *stage)
{
    (void)stage;
    return (struct postgres_conf){.application_name = STR("contract")};
}

void stage_http_answers(struct stage *stage, struct stage_reply reply)
{
    static const enum sim_trouble troubles[] = {
        [STAGE_WELL] = SIM_NO_TROUBLE,
        [STAGE_REFUSED] = SIM_REFUSED,
        [STAGE_CUT] = SIM_CUT,
        [STAGE_SILENT] = SIM_SILENT,
    };
    sim_provider_now(stage->sim, ORIGIN,
                     (struct sim_reply){.status = reply.status,
                                        .after_ms = reply.after_ms,
                                        .headers = reply.headers,
                                        .body = reply.body ? reply.body : "",
                                        .trouble = troubles[reply.trouble]});
}

struct str stage_http_url(struct stage *stage)
{
    (void)stage;
    return STR("http://" ORIGIN ".example/v1/echo");
}

size_t stage_http_calls(struct stage *stage)
{
    return sim_call_count(stage->sim);
}
