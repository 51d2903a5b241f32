/*
 * cache.c -- see cache.h. The scripts and their arguments are schemas/lua/settled.lua and
 * conversation.lua.
 */
#include "aggregator/settle/cache.h"

#include "common/contract/redis_keys.h"
#include "common/data/json.h"

void cache_mark(const struct aggregator *aggregator, const struct group *group, struct arena *arena)
{
    const struct ticket *ticket = group_ticket(group);
    struct str prefix = aggregator->conf->shared.redis_key_prefix;
    struct str tenant = group_tenant(group), id = group_id(group);
    struct str words[1 + 2 * SLOTS_MAX + 4];
    size_t count = 0;
    words[count++] = redis_key_done(arena, prefix, tenant, id);
    for (int slot = 0; slot < (int)group->slots; slot++) {
        words[count++] = redis_key_claim(arena, prefix, tenant, id, slot);
        words[count++] = redis_key_kept(arena, prefix, tenant, id, slot);
    }
    size_t keys = count;
    words[count++] =
        arena_printf(arena, STR_FMT " " STR_FMT " %lld %lld " STR_FMT, STR_ARG(group->final.status),
                     STR_ARG(ticket->body_hash), (long long)ticket->partition,
                     (long long)ticket->offset, STR_ARG(ticket->topic));
    words[count++] =
        arena_printf(arena, "%lld", (long long)redis_key_lifetime_s(REDIS_KEY_DONE) * 1000);
    words[count++] = ticket->notify.data ? ticket->notify : STR("");
    words[count++] = group_whole_key(group);
    redis_script_ask(aggregator->redis, aggregator->script_settled, keys, words, count, NULL, NULL);
}

static void write_messages(const struct group *group, struct json_writer *w)
{
    const struct value *question = group_question(group);
    if (!str_is(group->final.status, "done"))
        return;
    for (uint32_t i = 0; question && i < question->count; i++)
        json_value(w, &question->items[i]);
    const struct result *winner = &group->parts[group->final.winner]->result;
    if (winner->message) {
        json_value(w, winner->message);
        return;
    }
    json_open(w, '{');
    json_key(w, "role");
    json_str(w, STR("assistant"));
    json_key(w, "content");
    json_str(w, winner->text.data ? winner->text : STR(""));
    json_close(w, '}');
}

void cache_turn(const struct aggregator *aggregator, const struct group *group, int64_t turn,
                struct arena *arena, struct buf *scratch)
{
    const struct ticket *ticket = group_ticket(group);
    struct json_writer w = {.out = scratch};
    buf_clear(scratch);
    json_open(&w, '{');
    json_key(&w, "turn"); /* first: the script looks for it there */
    json_int(&w, turn);
    json_key(&w, "id");
    json_str(&w, group_id(group));
    json_key(&w, "messages");
    json_open(&w, '[');
    write_messages(group, &w);
    json_close(&w, ']');
    json_close(&w, '}');
    const struct str words[] = {
        redis_key_conversation(arena, aggregator->conf->shared.redis_key_prefix,
                               group_tenant(group), ticket->session),
        arena_printf(arena, "%lld", (long long)turn),
        buf_str(scratch),
        arena_printf(arena, "%lld", (long long)redis_key_lifetime_s(REDIS_KEY_CONVERSATION)),
        arena_printf(arena, "%lld", (long long)aggregator->conf->history_turns),
    };
    if (!scratch->overflowed)
        redis_script_ask(aggregator->redis, aggregator->script_conversation, 1, words, 5, NULL,
                         NULL);
    scratch->overflowed = false;
}
