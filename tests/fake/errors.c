/*
 * errors.c -- finds the row and writes the body; see errors.h.
 */
#include "tests/fake/errors.h"

#include "tests/fake/digest.h"

enum form {
    OBJECT,   /* {"error":{message,type,param,code}} */
    NAMED,    /* the same, and "request_id" beside it */
    INNER_ID, /* the same with an id in the error */
    CODE,     /* {"error":{code,message}} */
    FILTER,   /* OBJECT with Azure's "innererror" */
    TYPED,    /* Anthropic's */
    STRING,   /* {"error":"text"} */
    FLAT,     /* {"object":"error",message,type,param,code}, vLLM's */
    DETAIL,   /* {"detail":"text"} */
    HTML,     /* what a gateway in front of them says */
};

static const struct row {
    enum vendor vendor;
    enum error_kind kind;
    int status;
    enum form form;
    const char *type, *param, *code, *text;
} rows[] = {
#define ERROR_ROW(vendor, kind, status, form, type, param, code, text)                             \
    {vendor, ERROR_##kind, status, form, type, param, code, text},
#include "tests/fake/errors.def"
#undef ERROR_ROW
};

// clang-format off
static const struct {
    const char *name;
    int status; /* the usual one; of two kinds with the same the first is meant by the number */
} kinds[ERROR_KINDS] = {
    [ERROR_INVALID]       = {"invalid",       400},
    [ERROR_CONTEXT]       = {"context",       400},
    [ERROR_FILTER]        = {"filter",        400},
    [ERROR_KEY]           = {"key",           401},
    [ERROR_FUNDS]         = {"funds",         402},
    [ERROR_FORBIDDEN]     = {"forbidden",     403},
    [ERROR_MODEL]         = {"model",         404},
    [ERROR_PATH]          = {"path",          404},
    [ERROR_TIMEOUT]       = {"timeout",       408},
    [ERROR_CONFLICT]      = {"conflict",      409},
    [ERROR_TOO_LARGE]     = {"too-large",     413},
    [ERROR_UNPROCESSABLE] = {"unprocessable", 422},
    [ERROR_RATE]          = {"rate",          429},
    [ERROR_TOKENS]        = {"tokens",        429},
    [ERROR_OVERSIZE]      = {"oversize",      429},
    [ERROR_QUOTA]         = {"quota",         429},
    [ERROR_SERVER]        = {"server",        500},
    [ERROR_GATEWAY]       = {"gateway",       502},
    [ERROR_BUSY]          = {"busy",          503},
    [ERROR_LATE]          = {"gateway-timeout", 504},
    [ERROR_OVERLOADED]    = {"overloaded",    529},
};

/* The form in which a vendor says what it has no row for. */
static const enum form usual_form[] = {
    [OPENAI]  = OBJECT,   [AZURE]      = CODE, [ANTHROPIC] = TYPED, [OLLAMA] = STRING,
    [DEEPSEEK] = OBJECT,  [QWEN]       = NAMED,
    [HUNYUAN] = INNER_ID, [HYPERBOLIC] = FLAT,
};
// clang-format on

bool error_kind_parse(struct slice name, enum error_kind *ret)
{
    for (size_t i = 0; i < ERROR_KINDS; i++) {
        if (slice_is(name, kinds[i].name)) {
            *ret = (enum error_kind)i;
            return true;
        }
    }
    return false;
}

enum error_kind error_kind_of(int status)
{
    for (size_t i = 0; i < ERROR_KINDS; i++) {
        if (kinds[i].status == status)
            return (enum error_kind)i;
    }
    return status < 500 ? ERROR_INVALID : ERROR_SERVER;
}

/* `status` 0: the first of the kind. NULL when the vendor has none. */
static const struct row *row_find(enum vendor vendor, enum error_kind kind, int status)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        if (row->vendor == vendor && row->kind == kind && (!status || row->status == status))
            return row;
    }
    return NULL;
}

static struct row row_of(enum vendor vendor, enum error_kind kind, int status)
{
    const struct row *row = row_find(vendor, kind, status);
    if (!row)
        row = row_find(vendor, kind, 0);
    if (row)
        return *row;
    struct row general = *row_find(OPENAI, kind, 0);
    if (general.form != HTML)
        general.form = usual_form[vendor];
    return general;
}

int error_status(enum vendor vendor, enum error_kind kind)
{
    const struct row *row = row_find(vendor, kind, 0);
    return row ? row->status : kinds[kind].status;
}

const char *error_type(enum vendor vendor, enum error_kind kind, int status)
{
    return row_of(vendor, kind, status).form == HTML ? "text/html" : "application/json";
}

struct error_facts error_facts_sample(struct slice model, uint64_t id)
{
    return (struct error_facts){
        .model = model, .id = id, .limit = 60, .used = 60, .requested = 1, .wait_ms = 1000};
}

void error_duration(uint64_t ms, struct buf *out)
{
    if (ms < 1000) {
        buf_format(out, "%llums", (unsigned long long)ms);
        return;
    }
    if (ms >= 3600000)
        buf_format(out, "%lluh", (unsigned long long)(ms / 3600000));
    if (ms >= 60000)
        buf_format(out, "%llum", (unsigned long long)(ms / 60000 % 60));
    buf_format(out, "%llu", (unsigned long long)(ms / 1000 % 60));
    unsigned rest = (unsigned)(ms % 1000), digits = 3;
    while (rest && rest % 10 == 0) {
        rest /= 10;
        digits--;
    }
    if (rest)
        buf_format(out, ".%0*u", (int)digits, rest);
    buf_text(out, "s");
}

/* Writes what stands for a mark; false when it is none of ours. */
static bool mark_write(struct slice mark, const struct error_facts *facts, struct buf *out)
{
    if (slice_is(mark, "{model}"))
        buf_add(out, facts->model.at, facts->model.len);
    else if (slice_is(mark, "{limit}"))
        buf_number(out, facts->limit);
    else if (slice_is(mark, "{used}"))
        buf_number(out, facts->used);
    else if (slice_is(mark, "{requested}"))
        buf_number(out, facts->requested);
    else if (slice_is(mark, "{wait}"))
        error_duration(facts->wait_ms, out);
    else if (slice_is(mark, "{seconds}"))
        buf_number(out, (facts->wait_ms + 999) / 1000);
    else
        return false;
    return true;
}

/* `text` as a JSON string, its marks replaced. */
static void text_write(const char *text, const struct error_facts *facts, struct buf *out)
{
    static struct buf sentence; /* kept: errors come in crowds */
    sentence.len = 0;
    while (*text) {
        size_t plain = strcspn(text, "{"), len = strcspn(text + plain, "}") + 1;
        buf_add(&sentence, text, plain);
        text += plain;
        if (!*text)
            break;
        if (mark_write((struct slice){.at = text, .len = len}, facts, &sentence))
            text += len;
        else
            buf_add(&sentence, text++, 1);
    }
    buf_json(out, buf_slice(&sentence));
}

static void field(struct buf *out, const char *name, const char *value)
{
    buf_format(out, ",\"%s\":", name);
    if (value)
        buf_json(out, slice_of(value));
    else
        buf_text(out, "null");
}

static void id_field(struct buf *out, const char *name, uint64_t id)
{
    char hex[16];
    digest_hex(id, hex);
    buf_format(out, "\"%s\":\"req_%.16s\"", name, hex);
}

static void fields(const struct row *row, struct buf *out)
{
    field(out, "type", row->type);
    field(out, "param", row->param);
    field(out, "code", row->code);
}

static void object_body(const struct row *row, const char *text, const struct error_facts *facts,
                        struct buf *out)
{
    buf_text(out, "{\"error\":{");
    if (row->form == INNER_ID) {
        id_field(out, "id", facts->id);
        buf_text(out, ",");
    }
    buf_text(out, "\"message\":");
    text_write(text, facts, out);
    fields(row, out);
    if (row->form == FILTER)
        buf_text(out, ",\"status\":400,\"innererror\":{\"code\":\"ResponsibleAIPolicyViolation\","
                      "\"content_filter_result\":{\"hate\":{\"filtered\":false,\"severity\":"
                      "\"safe\"},\"violence\":{\"filtered\":true,\"severity\":\"medium\"}}}");
    buf_text(out, "}");
    if (row->form == NAMED) {
        buf_text(out, ",");
        id_field(out, "request_id", facts->id);
    }
    buf_text(out, "}");
}

static void typed_body(const struct row *row, const char *text, const struct error_facts *facts,
                       struct buf *out)
{
    buf_format(out, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":", row->type);
    text_write(text, facts, out);
    buf_text(out, "},");
    id_field(out, "request_id", facts->id);
    buf_text(out, "}");
}

void error_body(enum vendor vendor, enum error_kind kind, int status,
                const struct error_facts *facts, struct buf *out)
{
    struct row row = row_of(vendor, kind, status);
    const char *text = facts->text ? facts->text : row.text;
    switch (row.form) {
    case OBJECT:
    case NAMED:
    case INNER_ID:
    case FILTER:
        object_body(&row, text, facts, out);
        return;
    case TYPED:
        typed_body(&row, text, facts, out);
        return;
    case CODE:
        buf_format(out,
                   "{\"error\":{\"code\":\"%s\",\"message\":", row.code ? row.code : "BadRequest");
        text_write(text, facts, out);
        buf_text(out, "}}");
        return;
    case STRING:
    case DETAIL:
        buf_text(out, row.form == STRING ? "{\"error\":" : "{\"detail\":");
        text_write(text, facts, out);
        buf_text(out, "}");
        return;
    case FLAT:
        buf_text(out, "{\"object\":\"error\",\"message\":");
        text_write(text, facts, out);
        field(out, "type", row.type);
        buf_format(out, ",\"param\":null,\"code\":%d}", status);
        return;
    case HTML:
        buf_format(out,
                   "<html>\r\n<head><title>%s</title></head>\r\n<body>\r\n<center><h1>%s</h1>"
                   "</center>\r\n</body>\r\n</html>\r\n",
                   text, text);
        return;
    }
}
