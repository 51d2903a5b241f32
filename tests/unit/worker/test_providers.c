/*
 * Goal: what each provider sends and understands stays the same, byte for byte.
 * Method: files under tests/golden/<provider>/. NAME.in.json says model, settings and messages;
 * NAME.out.http is what must be sent. NAME.reply.http is a reply; NAME.answer.json is what must be
 * understood of it. NAME.vectors.http is a reply with embeddings, behind lines that say how many
 * texts were sent and which dimensions were asked for; NAME.vectors.json what is understood of
 * that. QUERN_GOLDEN_WRITE=1 writes the expected files anew, to be read before they are committed.
 */
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/contract/contract.h"
#include "common/data/floats.h"
#include "common/data/json.h"
#include "worker/call/provider.h"

enum { FILE_BYTES_MAX = 1 << 20 };

static struct str read_file(struct arena *arena, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return (struct str){0};
    char *bytes = arena_alloc(arena, FILE_BYTES_MAX);
    size_t len = fread(bytes, 1, FILE_BYTES_MAX, file);
    fclose(file);
    return str_from(bytes, len);
}

static void expect_file(struct arena *arena, const char *path, struct str is)
{
    if (getenv("QUERN_GOLDEN_WRITE")) {
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        fwrite(is.data, 1, is.len, file);
        fclose(file);
        return;
    }
    struct str want = read_file(arena, path);
    if (!str_eq(want, is))
        fail_msg("%s\n-- wanted:\n" STR_FMT "\n-- is:\n" STR_FMT, path, STR_ARG(want), STR_ARG(is));
}

static void read_model(const struct value *document, struct provider_model *model)
{
    const struct value *given = value_get_map(document, "model");
    const struct value *temperature = value_get(given, STR("temperature"));
    *model = (struct provider_model){
        .name = STR("test"),
        .model = value_get_str(given, "model"),
        .base_url = value_get_str(given, "base_url"),
        .api_key = value_get_str(given, "api_key"),
        .api = value_get_str(given, "api"),
        .api_version = value_get_str(given, "api_version"),
        .max_tokens = value_get_int(given, "max_tokens", INT_ABSENT),
        .temperature = temperature && temperature->kind == VALUE_REAL ? temperature->real : NAN,
    };
}

static void check_encode(const struct provider *provider, struct arena *arena, const char *in,
                         const char *out)
{
    struct value document;
    struct err err;
    struct provider_model model;
    struct params params;
    struct provider_request request;
    if (!json_read(read_file(arena, in), arena, &document, &err))
        fail_msg("%s: %s", in, err.text);
    read_model(&document, &model);
    contract_init(&contract_params, &params);
    const struct value *given = value_get_map(&document, "params");
    if (given && !contract_read(&contract_params, given, arena, &params, &err))
        fail_msg("%s: %s", in, err.text);
    const struct value *stream = value_get(&document, STR("stream"));
    const struct value *inputs = value_get_list(&document, "inputs");
    const struct prompt prompt = {
        .messages = value_get_list(&document, "messages"),
        .inputs = inputs ? inputs->items : NULL,
        .input_count = inputs ? inputs->count : 0,
        .params = &params,
        .stream = stream && stream->kind == VALUE_BOOL && stream->truth,
    };
    struct buf text;
    buf_init(&text, FILE_BYTES_MAX);
    if (provider_encode(provider, &model, &prompt, arena, &request, &err)) {
        buf_printf(&text, "POST " STR_FMT "\n", STR_ARG(request.url));
        for (size_t i = 0; i < request.header_count; i++)
            buf_printf(&text, STR_FMT ": " STR_FMT "\n", STR_ARG(request.headers[i].name),
                       STR_ARG(request.headers[i].value));
        buf_printf(&text, "\n" STR_FMT "\n", STR_ARG(request.body));
    } else {
        buf_printf(&text, "%s: %s\n", err_name(err.code), err.text);
    }
    expect_file(arena, out, buf_str(&text));
    buf_done(&text);
}

/* What was asked for in a reply with embeddings. */
struct asked {
    struct prompt prompt;
    struct params params;
};

static void read_asked(struct str name, struct str value, struct asked *ret)
{
    static const struct value texts[16];
    int64_t number;
    if (!ret || !str_to_i64(value, 1, 100000, &number))
        return;
    if (str_is(name, "Texts")) {
        ret->prompt.inputs = texts;
        ret->prompt.input_count = (uint32_t)number;
    }
    if (str_is(name, "Dimensions"))
        ret->params.dimensions = number;
}

/* "STATUS\nHeader: value\n..\n\nbody" */
static struct provider_reply read_reply_to(struct str file, struct asked *asked)
{
    struct provider_reply reply = {.wall_ms = 1445412420000}; /* 2015-10-21 07:27:00 */
    struct str line;
    int64_t status = 0;
    assert_true(str_split(&file, '\n', &line));
    assert_true(str_to_i64(str_trim(line), 100, 999, &status));
    reply.status = (int)status;
    while (str_split(&file, '\n', &line) && line.len) {
        struct str name;
        struct str value = line;
        assert_true(str_split(&value, ':', &name));
        if (str_eq_nocase(name, STR("retry-after")))
            reply.retry_after = str_trim(value);
        if (str_eq_nocase(name, STR("retry-after-ms")))
            reply.retry_after_ms = str_trim(value);
        read_asked(name, str_trim(value), asked);
    }
    reply.body = file;
    return reply;
}

static struct provider_reply read_reply(struct str file)
{
    return read_reply_to(file, NULL);
}

static void write_usage(struct json_writer *w, const struct answer *answer)
{
    json_key(w, "usage");
    if (!answer->usage_known) {
        json_null(w);
        return;
    }
    json_open(w, '{');
    json_key(w, "input");
    json_int(w, answer->usage.input);
    json_key(w, "output");
    json_int(w, answer->usage.output);
    json_key(w, "cached_input");
    json_int(w, answer->usage.cached_input);
    json_key(w, "reasoning");
    json_int(w, answer->usage.reasoning);
    json_close(w, '}');
}

static void write_answer(struct json_writer *w, const struct answer *answer)
{
    json_key(w, "text");
    json_str(w, answer->text);
    json_key(w, "finish_reason");
    json_str(w, answer->finish_reason);
    json_key(w, "message");
    json_value(w, answer->message);
}

static void write_error(struct json_writer *w, const struct err *err)
{
    json_key(w, "error");
    json_str(w, str_of(err_name(err->code)));
    json_key(w, "text");
    json_str(w, str_of(err->text));
    json_key(w, "retry");
    json_str(w, str_of(err_retry_name(err->retry)));
    json_key(w, "retry_after_ms");
    json_int(w, err->retry_after_ms);
}

static void check_decode(const struct provider *provider, struct arena *arena, const char *in,
                         const char *out)
{
    struct answer answer = {0};
    struct err err = {0};
    struct provider_reply reply = read_reply(read_file(arena, in));
    struct buf text;
    buf_init(&text, FILE_BYTES_MAX);
    struct json_writer w = {.out = &text};
    bool good = provider->decode(&reply, arena, &answer, &err);
    json_open(&w, '{');
    if (good)
        write_answer(&w, &answer);
    else
        write_error(&w, &err);
    write_usage(&w, &answer);
    json_close(&w, '}');
    buf_add_char(&text, '\n');
    expect_file(arena, out, buf_str(&text));
    buf_done(&text);
}

static struct provider_reply read_vectors(struct arena *arena, const char *path, struct asked *ret)
{
    *ret = (struct asked){0};
    contract_init(&contract_params, &ret->params);
    ret->prompt.params = &ret->params;
    struct provider_reply reply = read_reply_to(read_file(arena, path), ret);
    assert_non_null(ret->prompt.inputs);
    return reply;
}

static void check_vectors(const struct provider *provider, struct arena *arena, const char *in,
                          const char *out)
{
    struct answer answer = {0};
    struct err err = {0};
    struct asked asked;
    struct provider_reply reply = read_vectors(arena, in, &asked);
    struct buf text;
    buf_init(&text, FILE_BYTES_MAX);
    struct json_writer w = {.out = &text};
    bool good = provider_decode(provider, &asked.prompt, &reply, arena, &answer, &err);
    json_open(&w, '{');
    json_key(&w, "vectors");
    json_open(&w, '[');
    for (size_t i = 0; i < answer.embeddings.count; i++)
        floats_json(answer.embeddings.items[i], &w);
    json_close(&w, ']');
    if (!good)
        write_error(&w, &err);
    write_usage(&w, &answer);
    json_close(&w, '}');
    buf_add_char(&text, '\n');
    expect_file(arena, out, buf_str(&text));
    buf_done(&text);
}

/* One of a provider's files, with an arena that lives as long as the visit. */
struct golden_file {
    const struct provider *provider;
    const char *path;
    const char *stem; /* the path without its ending */
    struct arena *arena;
};

static void visit_file(const struct provider *provider, const char *folder, struct str name,
                       size_t ending, void (*visit)(const struct golden_file *file))
{
    char path[1024], stem[1024];
    struct arena arena;
    arena_init(&arena, NULL, 64 << 20);
    snprintf(path, sizeof(path), "%s/" STR_FMT, folder, STR_ARG(name));
    snprintf(stem, sizeof(stem), "%s/%.*s", folder, (int)(name.len - ending), name.data);
    visit(&(struct golden_file){provider, path, stem, &arena});
    arena_done(&arena);
}

/* Calls `visit` with every file of the provider that ends like that; how many there were. */
static int each_file(const char *provider, struct str ending,
                     void (*visit)(const struct golden_file *file))
{
    char folder[512];
    int count = 0;
    const struct provider *row = provider_by_name(str_of(provider));
    assert_non_null(row);
    snprintf(folder, sizeof(folder), "%s/tests/golden/%s", TEST_SOURCE_DIR, provider);
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!str_ends(str_of(entry->d_name), ending))
            continue;
        visit_file(row, folder, str_of(entry->d_name), ending.len, visit);
        count++;
    }
    closedir(dir);
    return count;
}

static int each_file_of_all(struct str ending, void (*visit)(const struct golden_file *file))
{
    int count = 0;
    for (const char *const *name = provider_names(); *name; name++)
        count += each_file(*name, ending, visit);
    return count;
}

static const char *beside(const struct golden_file *file, const char *ending)
{
    static char path[1024];
    snprintf(path, sizeof(path), "%s%s", file->stem, ending);
    return path;
}

static void golden_request(const struct golden_file *file)
{
    check_encode(file->provider, file->arena, file->path, beside(file, ".out.http"));
}

static void golden_reply(const struct golden_file *file)
{
    check_decode(file->provider, file->arena, file->path, beside(file, ".answer.json"));
}

static void golden_vectors(const struct golden_file *file)
{
    check_vectors(file->provider, file->arena, file->path, beside(file, ".vectors.json"));
}

static void golden(const char *name)
{
    int cases = each_file(name, STR(".in.json"), golden_request);
    cases += each_file(name, STR(".reply.http"), golden_reply);
    cases += each_file(name, STR(".vectors.http"), golden_vectors);
    assert_true(cases >= 5);
}

#define PROVIDER(name, home, key)                                                                  \
    static void name##_sends_and_understands_its_dialect(void **state)                             \
    {                                                                                              \
        (void)state;                                                                               \
        golden(#name);                                                                             \
    }
#include "schemas/provider.def"
#undef PROVIDER

static bool decodes(const struct provider *provider, const struct provider_reply *reply)
{
    struct answer answer = {0};
    struct err err = {0};
    struct arena arena;
    arena_init(&arena, NULL, 64 << 20);
    bool good = provider->decode(reply, &arena, &answer, &err);
    assert_int_equal(good, err.code == ERR_NONE);
    assert_true(answer.usage.cached_input >= 0 && answer.usage.reasoning >= 0);
    assert_true(answer.usage.cached_input <= answer.usage.input);
    assert_true(answer.usage.reasoning <= answer.usage.output);
    arena_done(&arena);
    return good;
}

static void read_by_all(const struct golden_file *file)
{
    const struct provider_reply reply = read_reply(read_file(file->arena, file->path));
    for (const char *const *reader = provider_names(); *reader; reader++)
        decodes(provider_by_name(str_of(*reader)), &reply);
}

static void no_reply_makes_usage_absurd_whoever_reads_it(void **state)
{
    (void)state;
    assert_true(each_file_of_all(STR(".reply.http"), read_by_all) >= 40);
}

static void cut_anywhere(const struct golden_file *file)
{
    const struct provider_reply reply = read_reply(read_file(file->arena, file->path));
    struct provider_reply cut = reply;
    size_t len = str_trim(reply.body).len;
    for (size_t i = 0; i < len; i++) {
        cut.body = str_slice(reply.body, 0, i);
        assert_false(decodes(file->provider, &cut));
    }
}

static void a_reply_cut_anywhere_is_no_answer(void **state)
{
    (void)state;
    assert_true(each_file_of_all(STR(".reply.http"), cut_anywhere) >= 40);
}

static void vectors_cut_anywhere(const struct golden_file *file)
{
    struct asked asked;
    struct provider_reply reply = read_vectors(file->arena, file->path, &asked);
    const struct str body = reply.body;
    for (size_t i = 0; i < str_trim(body).len; i++) {
        struct answer answer = {0};
        struct err err = {0};
        reply.body = str_slice(body, 0, i);
        assert_false(
            provider_decode(file->provider, &asked.prompt, &reply, file->arena, &answer, &err));
        assert_int_equal(answer.embeddings.count, 0);
    }
}

static void a_reply_with_vectors_cut_anywhere_is_no_answer(void **state)
{
    (void)state;
    assert_true(each_file_of_all(STR(".vectors.http"), vectors_cut_anywhere) >= 15);
}

static void who_has_no_embeddings_says_who_has(void **state)
{
    (void)state;
    static const struct value text = {.kind = VALUE_STR, .text = {"x", 1}};
    static const char *const without[] = {"anthropic", "deepseek", "hyperbolic"};
    struct params params;
    contract_init(&contract_params, &params);
    const struct prompt prompt = {.inputs = &text, .input_count = 1, .params = &params};
    for (size_t i = 0; i < 3; i++) {
        struct provider_request request;
        struct err err = {0};
        char want[200];
        const struct provider *provider = provider_by_name(str_of(without[i]));
        assert_false(provider_encode(provider, NULL, &prompt, NULL, &request, &err));
        snprintf(
            want, sizeof(want),
            "provider '%s' has no embeddings; use a model of openai, ollama, azure, hunyuan or "
            "qwen",
            without[i]);
        assert_string_equal(err.text, want);
        assert_int_equal(err.code, ERR_INVALID_REQUEST);
    }
}

static void an_unknown_provider_is_none(void **state)
{
    (void)state;
    assert_null(provider_by_name(STR("nobody")));
    assert_null(provider_by_name(STR("open")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define PROVIDER(name, home, key) cmocka_unit_test(name##_sends_and_understands_its_dialect),
#include "schemas/provider.def"
#undef PROVIDER
        cmocka_unit_test(no_reply_makes_usage_absurd_whoever_reads_it),
        cmocka_unit_test(a_reply_cut_anywhere_is_no_answer),
        cmocka_unit_test(a_reply_with_vectors_cut_anywhere_is_no_answer),
        cmocka_unit_test(who_has_no_embeddings_says_who_has),
        cmocka_unit_test(an_unknown_provider_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
