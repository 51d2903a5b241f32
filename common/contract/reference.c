/*
 * reference.c -- the reference page of messages, topics, headers and errors, in Markdown.
 */
#include "common/contract/field.h"

#include "common/base/must.h"

/* A table cell: '|' would end it. */
static void put_cell(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|')
            buf_add_char(out, '\\');
        buf_add_char(out, *text);
    }
}

static void put_type(struct buf *out, const struct field *field)
{
    switch (field->type) {
    case FIELD_STR:
    case FIELD_ENUM:
        buf_printf(out, "text");
        return;
    case FIELD_INT:
        buf_printf(out, "whole number");
        return;
    case FIELD_REAL:
        buf_printf(out, "number");
        return;
    case FIELD_BOOL:
        buf_printf(out, "true or false");
        return;
    case FIELD_ANY: {
        const char * or = "";
        struct str rest = str_of(field->choices), one;
        while (str_split(&rest, '|', &one)) {
            buf_printf(out, "%s" STR_FMT, or, STR_ARG(str_is(one, "str") ? STR("text") : one));
            or = " or ";
        }
        return;
    }
    case FIELD_STRS:
        buf_printf(out, "list of texts");
        return;
    case FIELD_SUB:
        buf_printf(out, "[%s](#%s)", field->part->name, field->part->name);
        return;
    case FIELD_SUBS:
        buf_printf(out, "list of [%s](#%s)", field->part->name, field->part->name);
        return;
    }
    must_not_reach("type of field");
}

/* "128 bytes", "256 KiB", "8 MiB" */
static void put_bytes(struct buf *out, size_t bytes)
{
    if (bytes >= 1 << 20 && bytes % (1 << 20) == 0)
        buf_printf(out, "%zu MiB", bytes >> 20);
    else if (bytes >= 1 << 10 && bytes % (1 << 10) == 0)
        buf_printf(out, "%zu KiB", bytes >> 10);
    else
        buf_printf(out, "%zu bytes", bytes);
}

static void put_names(struct buf *out, const char *choices)
{
    const char *comma = "";
    struct str rest = str_of(choices), one;
    while (str_split(&rest, '|', &one)) {
        buf_printf(out, "%s`" STR_FMT "`", comma, STR_ARG(one));
        comma = ", ";
    }
}

static void put_int_limits(struct buf *out, const struct field *field)
{
    if (field->max < INT64_MAX)
        buf_printf(out, "%lld to %lld", (long long)field->min, (long long)field->max);
    else if (field->min > INT64_MIN + 1)
        buf_printf(out, "from %lld", (long long)field->min);
}

static void put_limits(struct buf *out, const struct field *field)
{
    switch (field->type) {
    case FIELD_STR:
    case FIELD_ANY:
        put_bytes(out, field->bytes_max);
        return;
    case FIELD_ENUM:
        put_names(out, field->choices);
        return;
    case FIELD_INT:
        put_int_limits(out, field);
        return;
    case FIELD_REAL:
        buf_printf(out, "%g to %g", field->low, field->high);
        return;
    case FIELD_STRS:
        buf_printf(out, "%zu items, each ", field->items_max);
        put_bytes(out, field->bytes_max);
        return;
    case FIELD_SUBS:
        buf_printf(out, "%zu items", field->items_max);
        return;
    case FIELD_BOOL:
    case FIELD_SUB:
        return;
    }
    must_not_reach("type of field");
}

static void put_default(struct buf *out, const struct field *field)
{
    if (field->must)
        buf_printf(out, "required");
    else if (field->type == FIELD_ENUM)
        buf_printf(out, "`" STR_FMT "`", STR_ARG(field->first));
    else if (field->type == FIELD_BOOL)
        buf_printf(out, field->otherwise ? "true" : "false");
    else if (field->type == FIELD_INT && field->otherwise != INT_ABSENT)
        buf_printf(out, "%lld", (long long)field->otherwise);
}

static void put_contract(struct buf *out, const struct contract *contract)
{
    buf_printf(out, "### %s\n\n%s.\n\n", contract->name, contract->sentence);
    buf_printf(out, "| field | type | limits | default | meaning |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < contract->field_count; i++) {
        const struct field *field = &contract->fields[i];
        buf_printf(out, "| `%s` | ", field->name.data);
        put_type(out, field);
        buf_printf(out, " | ");
        put_limits(out, field);
        buf_printf(out, " | ");
        put_default(out, field);
        buf_printf(out, " | ");
        put_cell(out, field->sentence);
        buf_printf(out, " |\n");
    }
    buf_printf(out, "\n");
}

static void put_topics(struct buf *out)
{
    buf_printf(out, "## Topics\n\n"
                    "Names stand behind the configured prefix and a dot. No topic is compacted.\n\n"
                    "| topic | message | key | partitions | retention | largest record | meaning "
                    "|\n|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < TOPIC_COUNT; i++) {
        const struct topic *topic = &topics[i];
        const char *message = topic->message ? topic->message->name : NULL;
        buf_printf(out, "| `%s` | ", topic->name);
        if (message)
            buf_printf(out, "[%s](#%s)", message, message);
        else
            buf_printf(out, "original bytes");
        buf_printf(out, " | %s | %d | %lld h | ", topic->key, topic->partitions,
                   (long long)(topic->retention_ms / 3600000));
        put_bytes(out, (size_t)topic->message_bytes_max);
        buf_printf(out, " | ");
        put_cell(out, topic->sentence);
        buf_printf(out, " |\n");
    }
    buf_printf(out, "\n");
}

static void put_header_rows(struct buf *out, bool dead)
{
    buf_printf(out, "| header | meaning |\n|---|---|\n");
    for (size_t i = 0; i < header_count; i++) {
        if (headers[i].dead != dead)
            continue;
        buf_printf(out, "| `%s` | ", headers[i].name);
        put_cell(out, headers[i].sentence);
        buf_printf(out, " |\n");
    }
    buf_printf(out, "\n");
}

#define RETRY_WORD_NEVER     "never"
#define RETRY_WORD_LATER     "later"
#define RETRY_WORD_ELSEWHERE "elsewhere"

static void put_errors(struct buf *out)
{
    static const struct {
        const char *name, *retry;
        int http;
        const char *sentence;
    } rows[] = {
#define ERROR(code, error_name, again, status, text)                                               \
    {.name = error_name, .retry = RETRY_WORD_##again, .http = status, .sentence = text},
#include "schemas/error.def"
#undef ERROR
    };
    buf_printf(out, "## Errors\n\n"
                    "Retry says whether asking again may help: `never`, `later`, or `elsewhere` "
                    "(another model or provider may answer).\n\n"
                    "| code | retry | HTTP | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        buf_printf(out, "| `%s` | %s | %d | ", rows[i].name, rows[i].retry, rows[i].http);
        put_cell(out, rows[i].sentence);
        buf_printf(out, " |\n");
    }
}

void contract_reference(struct buf *ret)
{
    buf_printf(ret,
               "# Messages\n\n"
               "Printed from the tables in `schemas/`; do not edit.\n\n"
               "A message is JSON or MessagePack, told by the header `content-type`. Limits of "
               "text are bytes of UTF-8, those of lists and maps without fields of their own are "
               "bytes of their MessagePack form; such values nest at most %d levels. `null` counts "
               "as absent. Unknown fields are kept and passed on, at most %d KiB per object. The "
               "character U+0000 is refused.\n\n",
               FREE_DEPTH_MAX, EXTRA_BYTES_MAX / 1024);
    buf_printf(ret, "## Objects\n\n");
    for (size_t i = 0; i < contract_count; i++)
        put_contract(ret, contracts[i]);
    put_topics(ret);
    buf_printf(ret, "## Headers\n\n");
    put_header_rows(ret, false);
    buf_printf(ret, "On records of the dead-letter topic also:\n\n");
    put_header_rows(ret, true);
    put_errors(ret);
}
