/*
 * asyncapi.c -- AsyncAPI 3.0 of all topics, with the Kafka bindings 0.5.0.
 *
 * The application described is quern as a whole: it receives requests and sends results, replies
 * and dead letters; results go from its workers to its aggregators. To add a topic: its row in
 * topic.def and a line in `operations`.
 */
#include "common/contract/field.h"
#include "common/contract/schema.h"

#define REFS            "#/components/schemas/"
#define BINDING_VERSION "0.5.0"

struct operation {
    enum topic_id topic;
    const char *action; /* "send" or "receive" */
    bool replied;       /* a reply comes on the reply topic */
    const char *summary;
};

static const struct operation operations[] = {
    {TOPIC_REQUESTS, "receive", true, "Workers take requests and ask the models"},
    {TOPIC_REQUESTS_BATCH, "receive", true, "Workers take requests that may wait"},
    {TOPIC_RESULTS, "send", false, "Workers report one part per model"},
    {TOPIC_RESULTS, "receive", false, "Aggregators gather the parts of a request"},
    {TOPIC_REPLIES, "send", false, "Aggregators send the one final reply of a request"},
    {TOPIC_DEAD, "send", false, "Records that cannot be processed are put aside"},
};

static void put_ref(struct json_writer *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void put_ref(struct json_writer *w, const char *format, ...)
{
    char text[160];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    json_open(w, '{');
    schema_text(w, "$ref", text);
    json_close(w, '}');
}

static const char *message_name(const struct topic *topic)
{
    return topic->message ? topic->message->name : "dead";
}

static void open_key(struct json_writer *w, const char *key, char bracket)
{
    json_key(w, key);
    json_open(w, bracket);
}

static void put_key_binding(struct json_writer *w, const struct topic *topic)
{
    open_key(w, "bindings", '{');
    open_key(w, "kafka", '{');
    open_key(w, "key", '{');
    schema_text(w, "type", "string");
    schema_text(w, "description", topic->key);
    json_close(w, '}');
    schema_text(w, "bindingVersion", BINDING_VERSION);
    json_close(w, '}');
    json_close(w, '}');
}

static void put_payload(struct json_writer *w, const struct topic *topic)
{
    json_key(w, "payload");
    if (topic->message) {
        put_ref(w, REFS "%s", topic->message->name);
        return;
    }
    json_open(w, '{');
    schema_text(w, "description", "The original bytes, whatever they are");
    json_close(w, '}');
}

static void put_message(struct json_writer *w, const struct topic *topic)
{
    json_key(w, message_name(topic));
    json_open(w, '{');
    schema_text(w, "name", message_name(topic));
    schema_text(w, "summary", topic->message ? topic->message->sentence : topic->sentence);
    if (topic->message) {
        schema_text(w, "contentType", "application/json");
        bool request = topic->message == &contract_request;
        open_key(w, "correlationId", '{');
        schema_text(w, "location",
                    request ? "$message.payload#/id" : "$message.payload#/request_id");
        json_close(w, '}');
    }
    json_key(w, "headers");
    put_ref(w, REFS "%s", topic->message ? "headers" : "dead_headers");
    put_payload(w, topic);
    put_key_binding(w, topic);
    json_close(w, '}');
}

static void put_topic_binding(struct json_writer *w, const struct topic *topic, struct str address)
{
    open_key(w, "bindings", '{');
    open_key(w, "kafka", '{');
    json_key(w, "topic");
    json_str(w, address);
    json_key(w, "partitions");
    json_int(w, topic->partitions);
    open_key(w, "topicConfiguration", '{');
    open_key(w, "cleanup.policy", '[');
    json_str(w, STR("delete"));
    json_close(w, ']');
    json_key(w, "retention.ms");
    json_int(w, topic->retention_ms);
    json_key(w, "max.message.bytes");
    json_int(w, topic->message_bytes_max);
    json_close(w, '}');
    schema_text(w, "bindingVersion", BINDING_VERSION);
    json_close(w, '}');
    json_close(w, '}');
}

static void put_channel(struct json_writer *w, const struct topic *topic, struct str prefix)
{
    char name[256];
    snprintf(name, sizeof(name), STR_FMT "%s%s", STR_ARG(prefix), str_empty(prefix) ? "" : ".",
             topic->name);
    json_key(w, topic->name);
    json_open(w, '{');
    schema_text(w, "address", name);
    schema_text(w, "description", topic->sentence);
    open_key(w, "messages", '{');
    put_message(w, topic);
    json_close(w, '}');
    put_topic_binding(w, topic, str_of(name));
    json_close(w, '}');
}

static void put_operation(struct json_writer *w, const struct operation *operation)
{
    const struct topic *topic = &topics[operation->topic];
    char name[128];
    snprintf(name, sizeof(name), "%s.%s", operation->action, topic->name);
    json_key(w, name);
    json_open(w, '{');
    schema_text(w, "action", operation->action);
    schema_text(w, "summary", operation->summary);
    json_key(w, "channel");
    put_ref(w, "#/channels/%s", topic->name);
    open_key(w, "messages", '[');
    put_ref(w, "#/channels/%s/messages/%s", topic->name, message_name(topic));
    json_close(w, ']');
    if (operation->replied) {
        open_key(w, "reply", '{');
        json_key(w, "channel");
        put_ref(w, "#/channels/%s", topics[TOPIC_REPLIES].name);
        json_close(w, '}');
    }
    json_close(w, '}');
}

static void put_headers(struct json_writer *w, bool dead)
{
    json_key(w, dead ? "dead_headers" : "headers");
    json_open(w, '{');
    schema_text(w, "type", "object");
    open_key(w, "properties", '{');
    for (size_t i = 0; i < header_count; i++) {
        if (headers[i].dead && !dead)
            continue;
        json_key(w, headers[i].name);
        json_open(w, '{');
        schema_text(w, "type", "string");
        schema_text(w, "description", headers[i].sentence);
        json_close(w, '}');
    }
    json_close(w, '}');
    json_close(w, '}');
}

static void put_schemas(struct json_writer *w)
{
    open_key(w, "schemas", '{');
    put_headers(w, false);
    put_headers(w, true);
    for (size_t i = 0; i < contract_count; i++) {
        json_key(w, contracts[i]->name);
        json_open(w, '{');
        schema_members(w, contracts[i], REFS);
        json_close(w, '}');
    }
    json_close(w, '}');
}

void contract_asyncapi(struct str topic_prefix, struct buf *ret)
{
    struct json_writer w = {.out = ret, .pretty = true};
    json_open(&w, '{');
    schema_text(&w, "asyncapi", "3.0.0");
    open_key(&w, "info", '{');
    schema_text(&w, "title", "quern");
    schema_text(&w, "version", QUERN_VERSION);
    schema_text(&w, "description",
                "Requests to language models through Kafka. Every message is JSON or MessagePack, "
                "told by the header content-type; unknown fields are kept and passed on.");
    json_close(&w, '}');
    schema_text(&w, "defaultContentType", "application/json");

    open_key(&w, "channels", '{');
    for (size_t i = 0; i < TOPIC_COUNT; i++)
        put_channel(&w, &topics[i], topic_prefix);
    json_close(&w, '}');

    open_key(&w, "operations", '{');
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
        put_operation(&w, &operations[i]);
    json_close(&w, '}');

    open_key(&w, "components", '{');
    put_schemas(&w);
    json_close(&w, '}');
    json_close(&w, '}');
    buf_add_char(ret, '\n');
}
