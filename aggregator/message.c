/*
 * message.c -- see message.h.
 */
#include "aggregator/message.h"

static struct str join_parts(const struct value *content, struct arena *arena)
{
    size_t len = 0;
    for (uint32_t i = 0; i < content->count; i++)
        len += value_get_str(&content->items[i], "text").len + 1;
    char *joined = len ? arena_try(arena, len) : NULL;
    if (!joined)
        return (struct str){0};
    size_t at = 0;
    for (uint32_t i = 0; i < content->count; i++) {
        struct str text = value_get_str(&content->items[i], "text");
        if (str_empty(text))
            continue;
        if (at)
            joined[at++] = '\n';
        memcpy(joined + at, text.data, text.len);
        at += text.len;
    }
    return str_from(joined, at);
}

struct str message_text(const struct value *message, struct arena *arena)
{
    const struct value *content = value_get(message, STR("content"));
    if (!content)
        return (struct str){0};
    if (content->kind == VALUE_STR)
        return content->text;
    return content->kind == VALUE_LIST ? join_parts(content, arena) : (struct str){0};
}

bool message_is_plain(const struct value *message)
{
    const struct value *content = value_get(message, STR("content"));
    return message->kind == VALUE_MAP && message->count == 2 && content &&
           content->kind == VALUE_STR && value_get_str(message, "role").data;
}

struct str message_question(const struct value *messages, struct arena *arena)
{
    if (!messages || messages->kind != VALUE_LIST)
        return (struct str){0};
    for (uint32_t i = messages->count; i-- > 0;)
        if (str_is(value_get_str(&messages->items[i], "role"), "user"))
            return message_text(&messages->items[i], arena);
    return (struct str){0};
}
