/*
 * prompt.c -- a slot's step "prompt": what the model is given, and the vendor's bytes.
 *
 * Kind embed: the texts. Kind chat: system messages that open the request come first, then the
 * conversation so far, then the rest of the request. The messages are the same for all slots of a
 * job and are made once.
 */
#include "common/base/must.h"
#include "common/data/floats.h"
#include "worker/kind.h"

enum { VECTOR_FRAME_BYTES = 64 }; /* what stands around a vector in a reply, about */

static struct value *user_message(struct arena *arena, const struct value *input)
{
    struct value *map = value_map_new(arena, 2);
    value_map_add(map, STR("role"), value_str(STR("user")));
    value_map_add(map, STR("content"), *input);
    return map;
}

static bool is_system(const struct value *message)
{
    struct str role = value_get_str(message, "role");
    return str_is(role, "system") || str_is(role, "developer");
}

/* What the request itself says, as a list. */
static struct value asked(struct job *job)
{
    if (job->request.messages)
        return *job->request.messages;
    return (struct value){
        .kind = VALUE_LIST, .count = 1, .items = user_message(&job->arena, job->request.input)};
}

static const struct value *all_messages(struct job *job)
{
    struct value question = asked(job);
    uint32_t history = job->history ? job->history->count : 0;
    uint32_t opening = 0;
    while (opening < question.count && is_system(&question.items[opening]))
        opening++;

    struct value *items = arena_array(&job->arena, struct value, history + question.count);
    memcpy(items, question.items, opening * sizeof(*items));
    if (history)
        memcpy(items + opening, job->history->items, history * sizeof(*items));
    memcpy(items + opening + history, question.items + opening,
           (question.count - opening) * sizeof(*items));

    struct value *list = arena_new(&job->arena, struct value);
    *list = (struct value){.kind = VALUE_LIST, .count = history + question.count, .items = items};
    return list;
}

/* The turn's new messages without system ones: what the conversation will remember. */
static const struct value *to_remember(struct job *job)
{
    struct value question = asked(job);
    struct value *items = arena_array(&job->arena, struct value, question.count);
    struct value *list = arena_new(&job->arena, struct value);
    uint32_t count = 0;
    for (uint32_t i = 0; i < question.count; i++)
        if (!is_system(&question.items[i]))
            items[count++] = question.items[i];
    *list = (struct value){.kind = VALUE_LIST, .count = count, .items = items};
    return list;
}

void prompt_chat(struct slot *slot)
{
    struct job *job = slot->job;
    if (!job->messages) {
        job->messages = all_messages(job);
        job->question = to_remember(job);
    }
    slot->prompt = (struct prompt){.messages = job->messages, .params = &job->request.params};
}

/* The texts as they are. Where it is known that no reply could hold the vectors, nobody is paid to
 * find it out. */
void prompt_embed(struct slot *slot)
{
    struct job *job = slot->job;
    const struct params *params = &job->request.params;
    int64_t room = job->worker->conf->reply_bytes_max, dimensions = params->dimensions;
    slot->prompt = (struct prompt){.params = params};
    slot->prompt.inputs = request_inputs(&job->request, &slot->prompt.input_count);
    if (dimensions == INT_ABSENT)
        return;
    int64_t each = (int64_t)floats_text_len((size_t)dimensions) + VECTOR_FRAME_BYTES;
    if (each * slot->prompt.input_count > room)
        err_set(&slot->err, ERR_TOO_BIG,
                "%u vectors of %lld numbers have %lld bytes, a reply at most %lld "
                "(worker.reply_bytes_max): at most %lld texts in one request, or fewer dimensions",
                slot->prompt.input_count, (long long)dimensions,
                (long long)(each * slot->prompt.input_count), (long long)room,
                (long long)(room / each));
}

enum verdict prompt_begin(void *subject)
{
    struct slot *slot = subject;
    must_be(slot, SLOT_MAGIC);
    struct job *job = slot->job;
    if (slot_decided(slot))
        return STEP_NEXT;
    job->kind->prompt(slot);
    if (!slot->err.code && !job_overflowed(job, &slot->err))
        call_choose(slot);
    return STEP_NEXT;
}
