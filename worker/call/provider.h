/*
 * provider.h -- speaking one vendor's dialect.
 *
 * A provider is a row of pure functions: a prompt becomes HTTP bytes, HTTP bytes become an answer.
 * It opens no socket, reads no clock, keeps no state and does not log, so two files test it
 * completely: what we send and what came back. Sockets, deadlines and retries belong to the call
 * step (call.c).
 *
 * To add a vendor: write providers/<name>.c with one `const struct provider`, add its line to
 * schemas/provider.def, and put its requests and replies under tests/golden/<name>/. What speaks
 * OpenAI's form takes openai_form.h for nearly all of it.
 *
 * Memory: whatever a function returns lives in the arena it was given, or in its input.
 */
#ifndef QUERN_WORKER_CALL_PROVIDER_H
#define QUERN_WORKER_CALL_PROVIDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/base/str.h"
#include "common/contract/contract.h"
#include "common/data/json.h"
#include "common/data/value.h"

/* One configured model, as far as a dialect cares. Lives as long as the configuration. */
struct provider_model {
    struct str name;        /* ours */
    struct str model;       /* the vendor's */
    struct str base_url;    /* without a slash at the end; absent: the vendor's own */
    struct str api_key;     /* absent: none is sent */
    struct str api;         /* dialect within the vendor: ollama "chat" or "generate" */
    struct str api_version; /* azure: a date */
    int64_t max_tokens;     /* INT_ABSENT: the vendor's own limit */
    double temperature;     /* NAN: the vendor's own */
    const struct str *header_names, *header_values; /* further headers from the configuration */
    size_t header_count;
};

/* What leaves: messages in OpenAI's form, a list of maps with role and content; or, of kind embed,
 * texts to be turned into vectors. */
struct prompt {
    const struct value *messages;
    const struct value *inputs; /* of kind embed, VALUE_STR each; NULL: messages */
    uint32_t input_count;
    const struct params *params;
    bool stream; /* ask for the answer piece by piece; see stream.h */
};

#define PROVIDER_HEADERS_MAX 16

struct provider_header {
    struct str name, value;
};

struct provider_request {
    struct str url;
    struct str body;
    size_t header_count;
    struct provider_header headers[PROVIDER_HEADERS_MAX];
};

struct provider_reply {
    int status;
    struct str body;
    struct str content_type;
    struct str retry_after;    /* Retry-After: seconds or an HTTP date, as it came */
    struct str retry_after_ms; /* retry-after-ms, as it came */
    struct str rate_headers;   /* the lines that speak of rate limits: reset.h */
    int64_t wall_ms;           /* for dates in Retry-After */
};

struct answer {
    struct str text;             /* "" when the message has none */
    struct str_list embeddings;  /* of kind embed: a vector per input, data/floats.h */
    const struct value *message; /* OpenAI form; set when there is more than text (tool calls) */
    struct str finish_reason;    /* stop, length, tool_calls, content_filter */
    struct usage usage;
    bool usage_known;
    struct str provider_id; /* the vendor's id of this reply */
    struct str model;       /* as the vendor names it */
};

struct provider_stream;

/* How a vendor turns texts into vectors; embed.h has what its rows share. */
struct provider_embed {
    /* As those of struct provider, of a prompt with inputs. */
    bool (*encode)(const struct provider_embed *embed, const struct provider_model *model,
                   const struct prompt *prompt, struct arena *arena, struct provider_request *ret,
                   struct err *err);
    bool (*decode)(const struct provider_embed *embed, const struct prompt *prompt,
                   const struct provider_reply *reply, struct arena *arena, struct answer *ret,
                   struct err *err);
    const void *form; /* what several vendors' rows differ in */
};

struct provider {
    const char *name;

    /* Fills `ret` with the vendor's HTTP request. Fails only on a prompt it cannot express. */
    bool (*encode)(const struct provider_model *model, const struct prompt *prompt,
                   struct arena *arena, struct provider_request *ret, struct err *err);

    /* Reads a complete HTTP reply of any status. On failure err->retry says whether to ask again,
     * and where, err->retry_after_ms for how long not to. */
    bool (*decode)(const struct provider_reply *reply, struct arena *arena, struct answer *ret,
                   struct err *err);

    /* How a streamed reply is read; NULL: it can only be asked for a whole one. */
    const struct provider_stream *stream;

    const struct provider_embed *embed; /* NULL: it has no embeddings */
};

/* NULL when there is no such provider. */
const struct provider *provider_by_name(struct str name);
/* All names, NULL at the end. */
const char *const *provider_names(void);

/* encode() and decode() for what the prompt is: messages or inputs. */
bool provider_encode(const struct provider *provider, const struct provider_model *model,
                     const struct prompt *prompt, struct arena *arena, struct provider_request *ret,
                     struct err *err);
bool provider_decode(const struct provider *provider, const struct prompt *prompt,
                     const struct provider_reply *reply, struct arena *arena, struct answer *ret,
                     struct err *err);
/* "openai, azure or ..": who has embeddings. */
#define PROVIDER_NAMES_BYTES 200
void provider_embedding_names(char ret[PROVIDER_NAMES_BYTES]);

/* What most vendors share; used by the rows. */

/* The vendors' own addresses, provider_home_<name>; "" for those that have none. */
#define PROVIDER(name, home, key) extern const char provider_home_##name[];
#include "schemas/provider.def"
#undef PROVIDER

/* Error by HTTP status: 400/413/422 never, 401/403 auth, 404, 408/409/425/429 later, 5xx later;
 * text carries `message`, the vendor's words, cut to 200 bytes at a code point. */
void provider_status_error(const struct provider_reply *reply, struct str message, struct err *err);
/* Milliseconds asked for by Retry-After (seconds, fractions, HTTP date) or retry-after-ms; of a 429
 * without either what the vendor's reset headers say; 0: none. */
int64_t provider_retry_after_ms(const struct provider_reply *reply);
/* base_url (or `home`) followed by path. */
struct str provider_url(const struct provider_model *model, const char *home, const char *path,
                        struct arena *arena);
void provider_add_header(struct provider_request *request, struct str name, struct str value);
void provider_add_json(struct provider_request *request); /* Content-Type */
/* The key as a bearer's, if there is one. */
void provider_add_bearer(struct provider_request *request, const struct provider_model *model,
                         struct arena *arena);
/* The headers of the model's configuration, as far as there is room. */
void provider_add_configured(struct provider_request *request, const struct provider_model *model);
/* The text of a message's content: a string as it is, the text parts of a list joined. */
struct str provider_content_text(const struct value *content, struct arena *arena);
/* The texts of all system messages (or of all others), an empty line between two; absent: there is
 * none. */
struct str provider_join_texts(const struct value *messages, bool system, struct arena *arena);
bool provider_is_system(const struct value *message);
/* The request's setting, else the model's; INT_ABSENT or NAN when neither says anything. */
int64_t provider_max_tokens(const struct provider_model *model, const struct params *params);
double provider_temperature(const struct provider_model *model, const struct params *params);

/* A JSON object under way, as large as PROVIDER_BODY_MAX; its bytes are the arena's. */
#define PROVIDER_BODY_MAX (64 << 20)
struct provider_body {
    struct buf *bytes;
    struct json_writer json;
};
void provider_body_open(struct provider_body *body, struct arena *arena);
bool provider_body_close(struct provider_body *body, struct str *ret, struct err *err);

/* A setting with its key; nothing when it is absent (NAN, INT_ABSENT, NULL, no items). */
void provider_write_real(struct json_writer *json, const char *key, double value);
void provider_write_int(struct json_writer *json, const char *key, int64_t value);
void provider_write_any(struct json_writer *json, const char *key, const struct value *value);
void provider_write_strs(struct json_writer *json, const char *key, struct str_list strs);

/* The reply as a JSON object; an error page without JSON is judged by its status. */
bool provider_read_json(const struct provider_reply *reply, struct arena *arena, struct value *ret,
                        struct err *err);
/* A token count; absent, negative and absurd ones are 0. */
#define PROVIDER_TOKENS_MAX 1000000000
int64_t provider_count(const struct value *map, const char *key);
/* A part is never more than its whole: cached of input, reasoning of output. */
void provider_cap_usage(struct usage *usage);

#endif
