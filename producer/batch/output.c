/*
 * output.c -- see output.h.
 */
#include "producer/batch/output.h"

#include "common/data/digest.h"
#include "common/data/floats.h"
#include "common/data/json.h"

enum { REQ_HEX = 24 };

static void begin(struct json_writer *w, const struct output_line *line)
{
    char hex[REQ_HEX + 1], id[64];
    json_open(w, '{');
    if (line->request_id.data) {
        digest_sha256_hex(line->request_id, hex, REQ_HEX);
        snprintf(id, sizeof(id), "batch_req_%s", hex);
    } else {
        snprintf(id, sizeof(id), "batch_req_line_%lld", (long long)line->number);
    }
    json_key(w, "id");
    json_str(w, str_of(id));
    json_key(w, "custom_id");
    json_str(w, line->custom_id);
}

static void end(struct json_writer *w, struct buf *ret)
{
    json_close(w, '}');
    buf_add_char(ret, '\n');
}

static void write_error(struct json_writer *w, struct str code, struct str message)
{
    json_key(w, "response");
    json_null(w);
    json_key(w, "error");
    json_open(w, '{');
    json_key(w, "code");
    json_str(w, code);
    json_key(w, "message");
    json_str(w, message);
    json_close(w, '}');
}

static void write_message(struct json_writer *w, const struct reply *reply)
{
    json_key(w, "message");
    if (reply->message) {
        json_value(w, reply->message);
        return;
    }
    json_open(w, '{');
    json_key(w, "role");
    json_str(w, STR("assistant"));
    json_key(w, "content");
    json_str(w, reply->text.data ? reply->text : STR(""));
    json_key(w, "refusal");
    json_null(w);
    json_close(w, '}');
}

static void write_choice(struct json_writer *w, const struct reply *reply)
{
    json_key(w, "choices");
    json_open(w, '[');
    json_open(w, '{');
    json_key(w, "index");
    json_int(w, 0);
    write_message(w, reply);
    json_key(w, "logprobs");
    json_null(w);
    json_key(w, "finish_reason");
    json_str(w, str_empty(reply->finish_reason) ? STR("stop") : reply->finish_reason);
    json_close(w, '}');
    json_close(w, ']');
}

static void write_detail(struct json_writer *w, const char *object, const char *key, int64_t n)
{
    json_key(w, object);
    json_open(w, '{');
    json_key(w, key);
    json_int(w, n);
    json_close(w, '}');
}

static void write_usage(struct json_writer *w, const struct usage *usage)
{
    json_key(w, "usage");
    json_open(w, '{');
    json_key(w, "prompt_tokens");
    json_int(w, usage->input);
    json_key(w, "completion_tokens");
    json_int(w, usage->output);
    json_key(w, "total_tokens");
    json_int(w, usage->input + usage->output);
    write_detail(w, "prompt_tokens_details", "cached_tokens", usage->cached_input);
    write_detail(w, "completion_tokens_details", "reasoning_tokens", usage->reasoning);
    json_close(w, '}');
}

static void write_embedding(struct json_writer *w, struct str vector, size_t index, bool numbers)
{
    json_open(w, '{');
    json_key(w, "object");
    json_str(w, STR("embedding"));
    json_key(w, "index");
    json_int(w, (int64_t)index);
    json_key(w, "embedding");
    if (numbers)
        floats_json(vector, w);
    else
        json_str(w, vector);
    json_close(w, '}');
}

/* The body of an answer of /v1/embeddings. */
static void write_embeddings(struct json_writer *w, const struct output_line *line,
                             const struct reply *reply, struct str model)
{
    json_key(w, "object");
    json_str(w, STR("list"));
    json_key(w, "data");
    json_open(w, '[');
    for (size_t i = 0; i < reply->embeddings.count; i++)
        write_embedding(w, reply->embeddings.items[i], i, line->numbers);
    json_close(w, ']');
    json_key(w, "model");
    json_str(w, model);
    json_key(w, "usage");
    json_open(w, '{');
    json_key(w, "prompt_tokens");
    json_int(w, reply->usage.input);
    json_key(w, "total_tokens");
    json_int(w, reply->usage.input + reply->usage.output);
    json_close(w, '}');
}

static void write_completion(struct json_writer *w, const struct output_line *line,
                             const struct reply *reply, struct str model, int64_t created_s)
{
    char hex[REQ_HEX + 1], id[64];
    digest_sha256_hex(line->request_id, hex, REQ_HEX);
    snprintf(id, sizeof(id), "chatcmpl-%s", hex);
    json_key(w, "id");
    json_str(w, str_of(id));
    json_key(w, "object");
    json_str(w, STR("chat.completion"));
    json_key(w, "created");
    json_int(w, created_s);
    json_key(w, "model");
    json_str(w, model);
    write_choice(w, reply);
    write_usage(w, &reply->usage);
}

static void write_response(struct json_writer *w, const struct output_line *line,
                           const struct reply *reply, int64_t created_s)
{
    struct str model = str_empty(reply->merge.winner) ? line->model : reply->merge.winner;
    if (!model.data)
        model = STR("");
    json_key(w, "response");
    json_open(w, '{');
    json_key(w, "status_code");
    json_int(w, 200);
    json_key(w, "request_id");
    json_str(w, reply->request_id);
    json_key(w, "body");
    json_open(w, '{');
    if (reply->embeddings.count)
        write_embeddings(w, line, reply, model);
    else
        write_completion(w, line, reply, model, created_s);
    json_close(w, '}');
    json_close(w, '}');
    json_key(w, "error");
    json_null(w);
}

void output_reply(const struct output_line *line, const struct reply *reply, int64_t created_s,
                  struct buf *ret)
{
    struct json_writer w = {.out = ret};
    if (!line->openai) {
        contract_write(&contract_reply, reply, ENCODING_JSON, ret);
        buf_add_char(ret, '\n');
        return;
    }
    begin(&w, line);
    if (str_is(reply->status, "done"))
        write_response(&w, line, reply, created_s);
    else
        write_error(&w, str_empty(reply->error.code) ? reply->status : reply->error.code,
                    reply->error.message);
    end(&w, ret);
}

void output_refused(const struct output_line *line, const struct err *err, struct buf *ret)
{
    struct json_writer w = {.out = ret};
    begin(&w, line);
    json_key(&w, "line");
    json_int(&w, line->number);
    write_error(&w, str_of(err_name(err->code)), str_of(err->text));
    end(&w, ret);
}

struct str output_key_number(struct arena *arena, int64_t number)
{
    return arena_printf(arena, "#%lld", (long long)number);
}

struct str output_key_line(struct arena *arena, const struct output_line *line)
{
    return line->openai ? arena_printf(arena, "c:" STR_FMT, STR_ARG(line->custom_id))
                        : arena_printf(arena, "r:" STR_FMT, STR_ARG(line->request_id));
}

struct str output_key_written(struct arena *arena, const struct value *written, bool *failed)
{
    const struct value *error = value_get(written, STR("error"));
    int64_t number = value_get_int(written, "line", 0);
    struct str custom_id = value_get_str(written, "custom_id");
    struct str request_id = value_get_str(written, "request_id");
    if (failed)
        *failed = error && error->kind == VALUE_MAP;
    if (number > 0)
        return output_key_number(arena, number);
    if (custom_id.data && value_get(written, STR("response")))
        return arena_printf(arena, "c:" STR_FMT, STR_ARG(custom_id));
    if (request_id.data)
        return arena_printf(arena, "r:" STR_FMT, STR_ARG(request_id));
    return (struct str){NULL, 0};
}
