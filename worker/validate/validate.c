/*
 * validate.c -- a slot's step "validate": is the answer fit to be passed on?
 *
 * For chat an answer is fit when it is text in valid UTF-8 within the size limit. U+0000, which
 * PostgreSQL cannot store, becomes U+FFFD, wherever it stands: it is paid, and it would be refused
 * for one character. For the same reason an odd finish reason is cut. For embed it was looked at
 * number by number when the reply was read (call/embed.c); here it must be there.
 */
#include "common/base/must.h"
#include "worker/kind.h"

enum { FINISH_REASON_BYTES_MAX = 64 }; /* as in schemas/result.def */

static struct str without_nul(struct str text, struct arena *arena)
{
    static const char replacement[] = "\xef\xbf\xbd";
    size_t nuls = 0, at = 0;
    for (size_t i = 0; i < text.len; i++)
        nuls += text.data[i] == '\0';
    if (nuls == 0)
        return text;
    char *clean = arena_alloc(arena, text.len + nuls * 2 + 1);
    for (size_t i = 0; i < text.len; i++) {
        size_t len = text.data[i] ? 1 : 3;
        memcpy(clean + at, text.data[i] ? &text.data[i] : replacement, len);
        at += len;
    }
    clean[at] = '\0';
    return str_from(clean, at);
}

/* A copy; it nests no deeper than a document may. */
static struct value clean(const struct value *from, struct arena *arena)
{
    struct value copy = *from;
    if (from->kind == VALUE_STR)
        copy.text = without_nul(from->text, arena);
    if (from->kind == VALUE_LIST) {
        struct value *items = arena_array(arena, struct value, from->count);
        for (uint32_t i = 0; i < from->count; i++)
            items[i] = clean(&from->items[i], arena);
        copy.items = items;
    }
    if (from->kind == VALUE_MAP) {
        struct value *map = value_map_new(arena, from->count);
        for (uint32_t i = 0; i < from->count; i++)
            value_map_add(map, without_nul(from->pairs[i].key, arena),
                          clean(&from->pairs[i].value, arena));
        copy = *map;
    }
    return copy;
}

static const struct value *clean_message(const struct value *message, struct arena *arena)
{
    if (!message || !value_measure(message).nul)
        return message;
    struct value *copy = arena_new(arena, struct value);
    *copy = clean(message, arena);
    return copy;
}

void validate_text(struct slot *slot)
{
    struct arena *arena = &slot->job->arena;
    struct answer *answer = &slot->answer;
    answer->text = without_nul(answer->text, arena);
    answer->message = clean_message(answer->message, arena);
    answer->finish_reason =
        str_utf8_cut(without_nul(answer->finish_reason, arena), FINISH_REASON_BYTES_MAX);
    if (!str_utf8_valid(slot->answer.text))
        err_set(&slot->err, ERR_PROVIDER_BAD_REPLY, "the answer is not valid UTF-8");
    else if (slot->answer.text.len > (size_t)slot->job->worker->conf->reply_bytes_max)
        err_set(&slot->err, ERR_TOO_BIG, "the answer has %zu bytes, at most %lld are passed on",
                slot->answer.text.len, (long long)slot->job->worker->conf->reply_bytes_max);
}

void validate_vectors(struct slot *slot)
{
    if (slot->answer.embeddings.count != slot->prompt.input_count)
        err_set(&slot->err, ERR_PROVIDER_BAD_REPLY, "there are %zu vectors for %u texts",
                slot->answer.embeddings.count, slot->prompt.input_count);
}

/* What to do about it, of an answer that did not fit into a reply. */
static void advise(struct slot *slot)
{
    const struct kind *kind = slot->job->kind;
    const struct err why = slot->err;
    if (why.code == ERR_TOO_BIG && slot->attempt && kind && kind->when_too_big)
        err_set(&slot->err, why.code, "%s; %s", why.text, kind->when_too_big);
}

enum verdict validate_begin(void *subject)
{
    struct slot *slot = subject;
    struct job *job = slot->job;
    must_be(slot, SLOT_MAGIC);
    if (slot->claim == CLAIM_KEPT)
        return STEP_NEXT;
    if (!slot->err.code)
        job->kind->validate(slot);
    if (!slot->err.code)
        job_overflowed(job, &slot->err);
    advise(slot);
    return STEP_NEXT;
}
