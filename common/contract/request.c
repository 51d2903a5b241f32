/*
 * request.c -- what is true of requests beyond their rows, and the hash of their meaning.
 */
#include "common/contract/contract.h"

#include "common/contract/write.h"
#include "common/data/digest.h"

#define HASH_BUF_KEEP (1024 * 1024)

static bool has_control_characters(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.data[i];
        if (c < 0x20 || c == 0x7f)
            return true;
        if (c == 0xc2 && i + 1 < s.len && (unsigned char)s.data[i + 1] < 0xa0)
            return true; /* U+0080 to U+009F */
    }
    return false;
}

bool request_name_ok(struct str name, size_t max)
{
    return !str_empty(name) && name.len <= max && str_utf8_valid(name) &&
           !has_control_characters(name);
}

static bool check_names(const struct request *request, struct err *err)
{
    const struct {
        const char *field;
        struct str name;
    } names[] = {
        {"id", request->id},           {"tenant", request->tenant}, {"user", request->user},
        {"session", request->session}, {"route", request->route},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (has_control_characters(names[i].name)) {
            err_set(err, ERR_INVALID_REQUEST, "%s must not contain control characters",
                    names[i].field);
            return false;
        }
    }
    for (size_t i = 0; i < request->models.count; i++) {
        struct str model = request->models.items[i];
        if (str_empty(model) || has_control_characters(model)) {
            err_set(err, ERR_INVALID_REQUEST, "models[%zu] must %s", i,
                    str_empty(model) ? "not be empty" : "not contain control characters");
            return false;
        }
    }
    return true;
}

/* Kafka's rule for topic names; its length is in the row. */
static bool check_reply_to(struct str topic, struct err *err)
{
    for (size_t i = 0; i < topic.len; i++) {
        char c = topic.data[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-';
        if (!ok) {
            err_set(err, ERR_INVALID_REQUEST,
                    "reply_to must be a topic name of letters, digits, '.', '_' and '-'");
            return false;
        }
    }
    return true;
}

static bool is_role(struct str role)
{
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
        if (str_is(role, roles[i]))
            return true;
    }
    return false;
}

static bool check_content_parts(const struct value *parts, size_t index, struct err *err)
{
    for (uint32_t i = 0; i < parts->count; i++) {
        if (str_empty(value_get_str(&parts->items[i], "type"))) {
            err_set(err, ERR_INVALID_REQUEST,
                    "messages[%zu].content[%u] must be a map with a text 'type'", index, i);
            return false;
        }
    }
    return true;
}

static bool check_content(const struct value *message, bool assistant, size_t index,
                          struct err *err)
{
    const struct value *content = value_get(message, STR("content"));
    enum value_kind kind = content ? content->kind : VALUE_NULL;
    if (kind == VALUE_STR)
        return true;
    if (kind == VALUE_LIST && content->count > 0)
        return check_content_parts(content, index, err);
    const struct value *calls = value_get_list(message, "tool_calls");
    if (kind == VALUE_NULL && assistant && calls && calls->count > 0)
        return true;
    err_set(err, ERR_INVALID_REQUEST, "messages[%zu].content must be text or a list of parts%s",
            index, assistant ? ", or there must be tool_calls" : "");
    return false;
}

static bool check_messages(const struct value *messages, struct err *err)
{
    if (messages->count > REQUEST_MESSAGES_MAX) {
        err_set(err, ERR_INVALID_REQUEST, "messages must have at most %d items, has %u",
                REQUEST_MESSAGES_MAX, messages->count);
        return false;
    }
    for (uint32_t i = 0; i < messages->count; i++) {
        const struct value *message = &messages->items[i];
        if (message->kind != VALUE_MAP) {
            err_set(err, ERR_INVALID_REQUEST, "messages[%u] must be a map with role and content",
                    i);
            return false;
        }
        struct str role = value_get_str(message, "role");
        if (!is_role(role)) {
            struct str shown = str_utf8_cut(role, 32);
            err_set(err, ERR_INVALID_REQUEST,
                    "messages[%u].role must be system, developer, user, assistant or tool, "
                    "is '" STR_FMT "'",
                    i, STR_ARG(shown));
            return false;
        }
        if (!check_content(message, str_is(role, "assistant"), i, err))
            return false;
    }
    return true;
}

/* ---- kinds of work ---- */

static bool check_chat(const struct request *request, struct err *err)
{
    bool input = !str_empty(request_text(request));
    bool messages = request->messages && request->messages->count > 0;
    if (request->input && request->input->kind == VALUE_LIST)
        err_set(err, ERR_INVALID_REQUEST,
                "input must be text, is a list; lists of texts are for kind embed");
    else if (input && messages)
        err_set(err, ERR_INVALID_REQUEST,
                "input and messages are both given; one of them is the question");
    else if (!input && !messages)
        err_set(err, ERR_INVALID_REQUEST, "input or messages is missing: there is no question");
    else if (request->params.dimensions != INT_ABSENT)
        err_set(err, ERR_INVALID_REQUEST, "params.dimensions is for kind embed only");
    else
        return !messages || check_messages(request->messages, err);
    return false;
}

static bool check_inputs(const struct request *request, struct err *err)
{
    uint32_t count;
    const struct value *texts = request_inputs(request, &count);
    if (count > REQUEST_INPUTS_MAX) {
        err_set(err, ERR_INVALID_REQUEST,
                "input must have at most %d texts, has %u; split it into several requests",
                REQUEST_INPUTS_MAX, count);
        return false;
    }
    if (count == 0)
        err_set(err, ERR_INVALID_REQUEST,
                "input must have a text at least: there is nothing to embed");
    for (uint32_t i = 0; i < count; i++) {
        if (texts[i].kind == VALUE_STR && !str_empty(texts[i].text))
            continue;
        err_set(err, ERR_INVALID_REQUEST, "input[%u] must be a text that is not empty%s", i,
                texts[i].kind == VALUE_STR ? "" : ", is something else; tokens are not taken");
        return false;
    }
    return count > 0;
}

static bool has_chat_params(const struct params *params)
{
    return !isnan(params->temperature) || !isnan(params->top_p) || params->top_k != INT_ABSENT ||
           params->max_tokens != INT_ABSENT || params->seed != INT_ABSENT ||
           !isnan(params->frequency_penalty) || !isnan(params->presence_penalty) ||
           params->stop.count || params->response_format || params->tools || params->tool_choice;
}

static bool check_embed(const struct request *request, struct err *err)
{
    const char *wrong = NULL;
    if (request->messages)
        wrong = "messages is not for kind embed: put the texts into input";
    else if (!str_empty(request->session))
        wrong = "session is not for kind embed: vectors are no turn of a conversation";
    else if (request->stream)
        wrong = "stream is not for kind embed: vectors come whole";
    else if (has_chat_params(&request->params))
        wrong = "params of kind embed are dimensions and encoding_format, others have no meaning";
    if (!wrong)
        return check_inputs(request, err);
    err_set(err, ERR_INVALID_REQUEST, "%s", wrong);
    return false;
}

static const struct {
    const char *name;
    bool (*check)(const struct request *request, struct err *err);
} kinds[] = {
    {"chat", check_chat},
    {"embed", check_embed},
};

static bool check_kind(const struct request *request, struct err *err)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (str_is(request->kind, kinds[i].name))
            return kinds[i].check(request, err);
    err_set(err, ERR_INVALID_REQUEST, "kind must be chat or embed, is '" STR_FMT "'",
            STR_ARG(str_utf8_cut(request->kind, 32)));
    return false;
}

struct str request_text(const struct request *request)
{
    const struct value *input = request->input;
    return input && input->kind == VALUE_STR ? input->text : (struct str){NULL, 0};
}

const struct value *request_inputs(const struct request *request, uint32_t *ret_count)
{
    const struct value *input = request->input;
    bool list = input && input->kind == VALUE_LIST;
    *ret_count = list ? input->count : input != NULL;
    return list ? input->items : input;
}

bool request_check_names(const struct request *request, struct err *err)
{
    return check_names(request, err) && check_reply_to(request->reply_to, err);
}

bool request_check(const struct request *request, struct err *err)
{
    return check_kind(request, err) && request_check_names(request, err);
}

void request_body_hash(const struct request *request, char ret[65])
{
    static _Thread_local struct buf canonical; /* reused, so that a hash costs no malloc */
    struct request meaning = *request;
    meaning.id = (struct str){NULL, 0};
    meaning.created_at = INT_ABSENT;

    if (canonical.max == 0)
        buf_init(&canonical, SIZE_MAX / 2);
    buf_clear(&canonical);
    contract_write_form(&contract_request, &meaning, FORM_CANONICAL, &canonical);
    digest_sha256_hex(buf_str(&canonical), ret, DIGEST_HEX);
    if (canonical.cap > HASH_BUF_KEEP) {
        buf_done(&canonical);
        buf_init(&canonical, SIZE_MAX / 2);
    }
}
