/*
 * openai_form.h -- the form of OpenAI's chat completions, which most vendors speak.
 *
 * Body, reply, errors and usage are read and written here, once; a stream's events in
 * streams/openai.c, which takes errors, usage and ends of answers from here. What a vendor does
 * otherwise is a `struct openai_form`: his address, the parameters he takes, his names for errors
 * and for the end of an answer, his way of counting tokens. A vendor that needs no code of his own
 * is such a struct and OPENAI_FORM_PROVIDER(name, form); one with headers or an address of his own
 * writes `encode` around openai_form_body() (providers/azure.c).
 *
 * Format: openai-openapi, "CreateChatCompletionRequest" and "CreateChatCompletionResponse".
 * prompt_tokens includes cached tokens, completion_tokens includes reasoning tokens, which is our
 * own sense too. All is pure; what is returned lives in the arena or in the input.
 */
#ifndef QUERN_WORKER_CALL_OPENAI_FORM_H
#define QUERN_WORKER_CALL_OPENAI_FORM_H

#include "worker/call/stream.h"

/* Parameters that not every vendor takes; the others are sent to all. */
enum openai_takes {
    OPENAI_TAKES_SEED = 1,
    OPENAI_TAKES_TOP_K = 2,
    OPENAI_TAKES_FREQUENCY_PENALTY = 4,
    OPENAI_TAKES_PRESENCE_PENALTY = 8,
    OPENAI_TAKES_STREAM_OPTIONS = 16, /* without include_usage most streams do not say their cost */
};

/* What /v1/embeddings takes beside model and input. */
enum openai_embeds {
    OPENAI_EMBEDS_DIMENSIONS = 1,
    OPENAI_EMBEDS_BASE64 = 2, /* encoding_format; else vectors come as numbers, thrice as long */
};

/* An error that the status does not tell well enough. */
struct openai_error {
    const char *name;  /* error.code or error.type; NULL: whatever it is */
    const char *words; /* stand somewhere in the message; NULL: whatever it says */
    enum err_code meaning;
};

/* An end of an answer that OpenAI does not know. */
struct openai_finish {
    const char *theirs, *ours;
    enum err_code meaning; /* ERR_NONE: the answer is one */
};

struct openai_form {
    const char *home; /* the vendor's address, without /v1 */
    unsigned takes;   /* of enum openai_takes */
    unsigned embeds;  /* of enum openai_embeds, when its row has .embed */
    const char *(*max_tokens_name)(const struct provider_model *model); /* NULL: "max_tokens" */
    const struct openai_error *errors; /* looked at before the common ones; ends with {0}; NULL */
    const struct openai_finish *finishes; /* ends with {0}; NULL */
    /* Corrects what was read from OpenAI's own members of `usage`; NULL: nothing to correct. */
    void (*count)(const struct value *usage, struct usage *ret);
};

/* POST <address>/v1/chat/completions with a bearer's key. A base_url that ends in /v1, as vendors
 * write theirs, means the same as without. */
bool openai_form_encode(const struct openai_form *form, const struct provider_model *model,
                        const struct prompt *prompt, struct arena *arena,
                        struct provider_request *ret, struct err *err);
bool openai_form_body(const struct openai_form *form, const struct provider_model *model,
                      const struct prompt *prompt, struct arena *arena, struct str *ret,
                      struct err *err);
/* provider_url(), but for an `ending` that base_url has already. */
struct str openai_form_url(const struct provider_model *model, const char *home, const char *ending,
                           const char *path, struct arena *arena);
bool openai_form_decode(const struct openai_form *form, const struct provider_reply *reply,
                        struct arena *arena, struct answer *ret, struct err *err);
/* What replies of every kind begin with: the document, and of the answer its id, model and usage.
 * False: it is no JSON, or an error, and *err says so. */
bool openai_form_open(const struct openai_form *form, const struct provider_reply *reply,
                      struct arena *arena, struct value *document, struct answer *ret,
                      struct err *err);
/* Sets err by status, name and words, as for a reply that is an error. */
void openai_form_error(const struct openai_form *form, const struct provider_reply *reply,
                       const struct value *document, struct err *err);

/* Texts into vectors, openai_embed.c: POST <address>/v1/embeddings. */
bool openai_form_embed_encode(const struct provider_embed *embed,
                              const struct provider_model *model, const struct prompt *prompt,
                              struct arena *arena, struct provider_request *ret, struct err *err);
bool openai_form_embed_body(const struct openai_form *form, struct str model,
                            const struct prompt *prompt, struct arena *arena, struct str *ret,
                            struct err *err);
bool openai_form_embed_decode(const struct provider_embed *embed, const struct prompt *prompt,
                              const struct provider_reply *reply, struct arena *arena,
                              struct answer *ret, struct err *err);

/* For streams, which say the same piece by piece. */

/* The error in a document of any status; NULL: it is none. Without "error" around it, the document
 * itself. */
const struct value *openai_form_find_error(const struct value *document);
/* The text of a message's `content`, or of a piece of it; false: it is no text. */
bool openai_form_content(const struct value *content, struct arena *arena, struct str *ret,
                         struct err *err);
/* What `usage` says, counted as the vendor counts. */
void openai_form_usage(const struct openai_form *form, const struct value *usage,
                       struct usage *ret);
/* The end of an answer whose text is known, in our words; false when it is no answer for that. */
bool openai_form_finish(const struct openai_form *form, struct str theirs, struct answer *ret,
                        struct err *err);
/* Of struct provider_stream; in streams/openai.c. */
bool openai_form_stream_event(struct stream *stream, const struct stream_event *event,
                              struct err *err);
bool openai_form_stream_finish(struct stream *stream, struct answer *ret, struct err *err);

/* For vendors of other forms: tool calls as OpenAI has them, which is our own form. */

/* {"id","type":"function","function":{"name","arguments"}}, arguments as text. */
struct value openai_tool_call(struct str id, struct str name, const struct value *arguments,
                              struct arena *arena);
/* The assistant's message with these calls; they are not copied. */
const struct value *openai_tool_message(struct str text, struct value *calls, uint32_t count,
                                        struct arena *arena);
/* The arguments of one of tool_calls, read from their text. */
bool openai_tool_arguments(const struct value *call, struct arena *arena, struct value *ret,
                           struct err *err);

/* How streams of the form are read: form_stream, for the row's `stream`. */
#define OPENAI_FORM_STREAM(vendors_form)                                                           \
    static const struct provider_stream form_stream = {                                            \
        .framing = STREAM_SSE,                                                                     \
        .plain = "[DONE]",                                                                         \
        .form = &(vendors_form),                                                                   \
        .event = openai_form_stream_event,                                                         \
        .finish = openai_form_stream_finish,                                                       \
    }

/* How texts become vectors in the form: form_embed, for the row's `embed`. */
#define OPENAI_FORM_EMBED(vendors_form)                                                            \
    static const struct provider_embed form_embed = {                                              \
        .encode = openai_form_embed_encode,                                                        \
        .decode = openai_form_embed_decode,                                                        \
        .form = &(vendors_form),                                                                   \
    }

/* The row of a vendor that the form describes wholly; further members may follow. */
#define OPENAI_FORM_PROVIDER(vendor, form, ...)                                                    \
    static bool encode(const struct provider_model *model, const struct prompt *prompt,            \
                       struct arena *arena, struct provider_request *ret, struct err *err)         \
    {                                                                                              \
        return openai_form_encode(&(form), model, prompt, arena, ret, err);                        \
    }                                                                                              \
    static bool decode(const struct provider_reply *reply, struct arena *arena,                    \
                       struct answer *ret, struct err *err)                                        \
    {                                                                                              \
        return openai_form_decode(&(form), reply, arena, ret, err);                                \
    }                                                                                              \
    OPENAI_FORM_STREAM(form);                                                                      \
    const struct provider provider_##vendor = {                                                    \
        .name = #vendor, .encode = encode, .decode = decode, .stream = &form_stream, __VA_ARGS__}

#endif
