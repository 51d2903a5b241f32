/*
 * Goal: whatever a vendor of OpenAI's form says in a whole reply means the same in a stream.
 * Method: each recorded reply under tests/golden/ that has an answer is turned into a stream of one
 * chunk, its message as the delta, and read by every row of the form as a stream and as a whole.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "common/data/json.h"
#include "worker/call/stream.h"

enum { ARENA_MAX = 1 << 22, FILE_BYTES_MAX = 1 << 16 };

static const struct stream_limits limits = {
    .event_bytes_max = 1 << 16, .answer_bytes_max = 1 << 16, .stream_bytes_max = 1 << 20};

/* The body of "200\n..\n\nbody"; absent when the status is another one. */
static struct str read_body(struct arena *arena, const char *path)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *bytes = arena_alloc(arena, FILE_BYTES_MAX);
    size_t len = fread(bytes, 1, FILE_BYTES_MAX, file);
    fclose(file);
    struct str all = str_from(bytes, len), line;
    if (!str_starts(all, STR("200\n")))
        return (struct str){0};
    while (str_split(&all, '\n', &line) && line.len)
        ;
    return str_trim(all);
}

/* The first choice, with its message under another name. */
static void write_choice(struct json_writer *w, const struct value *choice)
{
    json_open(w, '{');
    for (uint32_t i = 0; i < choice->count; i++) {
        struct str key = choice->pairs[i].key;
        json_key_str(w, str_is(key, "message") ? STR("delta") : key);
        json_value(w, &choice->pairs[i].value);
    }
    json_close(w, '}');
}

static void write_chunk(struct json_writer *w, const struct value *document,
                        const struct value *choice)
{
    json_open(w, '{');
    for (uint32_t i = 0; i < document->count; i++) {
        json_key_str(w, document->pairs[i].key);
        if (str_is(document->pairs[i].key, "choices")) {
            json_open(w, '[');
            write_choice(w, choice);
            json_close(w, ']');
        } else {
            json_value(w, &document->pairs[i].value);
        }
    }
    json_close(w, '}');
}

/* False when the reply has no answer with a finish reason, which a stream must have. */
static bool make_stream(struct str body, struct arena *arena, struct buf *ret)
{
    struct json_writer w = {.out = ret};
    struct value document;
    struct err why;
    if (!body.data || !json_read(body, arena, &document, &why))
        return false;
    const struct value *choices = value_get_list(&document, "choices");
    const struct value *choice = choices && choices->count ? &choices->items[0] : NULL;
    if (!value_get_map(choice, "message") || str_empty(value_get_str(choice, "finish_reason")))
        return false;
    buf_printf(ret, "data: ");
    write_chunk(&w, &document, choice);
    buf_printf(ret, "\n\ndata: [DONE]\n\n");
    return true;
}

static bool read_stream(const struct provider *provider, struct str bytes, struct arena *arena,
                        struct answer *ret, struct err *err)
{
    struct stream_chunk chunk;
    struct stream *stream = stream_new(provider, &limits, arena);
    stream_feed(stream, bytes);
    while (stream_next(stream, &chunk) == STREAM_CHUNK)
        ;
    stream_close(stream, STREAM_END_CLEAN);
    return stream_finish(stream, ret, err);
}

static void expect_str(struct str is, struct str want, const char *path)
{
    if (!str_eq(is, want))
        fail_msg("%s: '" STR_FMT "' should be '" STR_FMT "'", path, STR_ARG(is), STR_ARG(want));
}

/* Whole messages have further members, null or of no use to who sends them back. */
static void expect_members(const struct value *is, const struct value *want,
                           const char *const *names, const char *path)
{
    for (; *names; names++) {
        const struct value *in_is = value_get(is, str_of(*names));
        const struct value *in_want = value_get(want, str_of(*names));
        if (in_want && in_want->kind != VALUE_NULL && (!in_is || !value_eq(in_is, in_want)))
            fail_msg("%s: the message's %s", path, *names);
    }
}

static void expect_message(const struct value *is, const struct value *want, const char *path)
{
    static const char *const names[] = {"role", "content", "refusal", "reasoning_content", NULL};
    static const char *const of_calls[] = {"id", "type", "function", NULL};
    assert_int_equal(!is, !want);
    expect_members(is, want, names, path);
    const struct value *is_calls = value_get_list(is, "tool_calls");
    const struct value *want_calls = value_get_list(want, "tool_calls");
    uint32_t count = want_calls ? want_calls->count : 0;
    assert_int_equal(is_calls ? is_calls->count : 0, count);
    for (uint32_t i = 0; i < count; i++)
        expect_members(&is_calls->items[i], &want_calls->items[i], of_calls, path);
}

static void expect_same(const struct answer *is, const struct answer *want, const char *path)
{
    expect_str(is->text, want->text, path);
    expect_str(is->provider_id, want->provider_id, path);
    expect_str(is->model, want->model, path);
    assert_int_equal(is->usage_known, want->usage_known);
    assert_int_equal(is->usage.input, want->usage.input);
    assert_int_equal(is->usage.output, want->usage.output);
    assert_int_equal(is->usage.cached_input, want->usage.cached_input);
    assert_int_equal(is->usage.reasoning, want->usage.reasoning);
}

static void check(const struct provider *provider, struct str body, struct str stream,
                  const char *path)
{
    struct arena arena;
    struct answer is = {0}, want = {0};
    struct err is_err = {0}, want_err = {0};
    arena_init(&arena, NULL, ARENA_MAX);
    const struct provider_reply reply = {.status = 200, .body = body};
    bool good = provider->decode(&reply, &arena, &want, &want_err);
    if (read_stream(provider, stream, &arena, &is, &is_err) != good)
        fail_msg("%s, read by %s: %s", path, provider->name, good ? is_err.text : want_err.text);
    expect_same(&is, &want, path);
    assert_int_equal(is_err.code, want_err.code);
    assert_int_equal(is_err.retry, want_err.retry);
    if (good) {
        expect_str(is.finish_reason, want.finish_reason, path);
        expect_message(is.message, want.message, path);
    }
    arena_done(&arena);
}

static int check_folder(const char *name)
{
    char folder[512], path[1024];
    int checked = 0;
    snprintf(folder, sizeof(folder), "%s/tests/golden/%s", TEST_SOURCE_DIR, name);
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        struct arena arena;
        struct buf stream;
        if (!str_ends(str_of(entry->d_name), STR(".reply.http")))
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        arena_init(&arena, NULL, ARENA_MAX);
        buf_init(&stream, 2 * FILE_BYTES_MAX);
        struct str body = read_body(&arena, path);
        bool is_answer = make_stream(body, &arena, &stream);
        for (const char *const *row = provider_names(); is_answer && *row; row++) {
            const struct provider *provider = provider_by_name(str_of(*row));
            if (provider->stream->form)
                check(provider, body, buf_str(&stream), path);
        }
        checked += is_answer;
        buf_done(&stream);
        arena_done(&arena);
    }
    closedir(dir);
    return checked;
}

static void a_reply_means_the_same_in_a_stream(void **state)
{
    (void)state;
    for (const char *const *name = provider_names(); *name; name++) {
        const struct provider *provider = provider_by_name(str_of(*name));
        assert_non_null(provider->stream);
        if (provider->stream->form)
            assert_true(check_folder(*name) >= 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_means_the_same_in_a_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
