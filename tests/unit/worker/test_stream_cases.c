/*
 * Goal: where servers differ from the book, and where they lie, a stream is understood or refused
 * for a reason that says which.
 * Method: a table of streams and what comes of them, as one line; and streams beyond each limit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/data/json.h"
#include "worker/call/stream.h"

enum { ARENA_MAX = 1 << 20, LINE_MAX_HERE = 2000 };

static const struct stream_limits roomy = {
    .event_bytes_max = 1 << 16, .answer_bytes_max = 1 << 16, .stream_bytes_max = 1 << 24};

static struct stream *open_stream(const char *vendor, const struct stream_limits *limits,
                                  struct arena *arena)
{
    arena_init(arena, NULL, ARENA_MAX);
    return stream_new(provider_by_name(str_of(vendor)), limits, arena);
}

static enum stream_step feed(struct stream *stream, struct str bytes)
{
    struct stream_chunk chunk;
    enum stream_step step;
    stream_feed(stream, bytes);
    while ((step = stream_next(stream, &chunk)) == STREAM_CHUNK)
        ;
    return step;
}

/* "text|reason|input+output|message", tokens "?" before them when they are not the final count, and
 * "(cached, reasoning)" behind them when there are some; or "error: what it
 * says|text|input+output".
 */
static void print(const struct answer *answer, bool good, const struct err *err, struct buf *ret)
{
    if (!good)
        buf_printf(ret, "%s: %s|", err_name(err->code), err->text);
    buf_printf(ret, STR_FMT "|", STR_ARG(answer->text));
    if (good)
        buf_printf(ret, STR_FMT "|", STR_ARG(answer->finish_reason));
    buf_printf(ret, "%s%lld+%lld", answer->usage_known ? "" : "?", (long long)answer->usage.input,
               (long long)answer->usage.output);
    if (answer->usage.cached_input || answer->usage.reasoning)
        buf_printf(ret, "(%lld,%lld)", (long long)answer->usage.cached_input,
                   (long long)answer->usage.reasoning);
    if (answer->message) {
        buf_add_char(ret, '|');
        json_write(answer->message, ret);
    }
}

struct stream_case {
    const char *vendor, *stream, *want;
    enum stream_end end;
};

static void check(const struct stream_case *test)
{
    struct arena arena;
    struct answer answer;
    struct err err = {0};
    struct buf is;
    struct stream_chunk chunk;
    struct stream *stream = open_stream(test->vendor, &roomy, &arena);
    buf_init(&is, LINE_MAX_HERE);
    feed(stream, str_of(test->stream));
    stream_close(stream, test->end);
    while (stream_next(stream, &chunk) == STREAM_CHUNK)
        ;
    bool good = stream_finish(stream, &answer, &err);
    print(&answer, good, &err, &is);
    if (!str_is(buf_str(&is), test->want))
        fail_msg("%s\n-- wanted:\n%s\n-- is:\n" STR_FMT, test->stream, test->want,
                 STR_ARG(buf_str(&is)));
    buf_done(&is);
    arena_done(&arena);
}

#define CHECK_ALL(cases)                                                                           \
    for (size_t i = 0; i < sizeof(cases) / sizeof((cases)[0]); i++)                                \
    check(&(cases)[i])

#define SAY(delta)   "data: {\"choices\":[{\"delta\":{" delta "}}]}\n\n"
#define TEXT(text)   SAY("\"content\":\"" text "\"")
#define STOP(reason) "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"" reason "\"}]}\n\n"
#define TOKENS(in, out)                                                                            \
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":" in ",\"completion_tokens\":" out "}}"    \
    "\n\n"
#define DONE       "data: [DONE]\n\n"
#define CALL(rest) SAY("\"tool_calls\":[{" rest "}]")

/* clang-format off */
static const struct stream_case openai_cases[] = {
    {"openai", TEXT("a") STOP("stop") DONE, "a|stop|?0+0", STREAM_END_CLEAN},
    {"openai", TEXT("a") STOP("stop") DONE, "a|stop|?0+0", STREAM_END_RESET},
    {"openai", TEXT("a") STOP("stop"), "a|stop|?0+0", STREAM_END_CLEAN},
    {"openai", TEXT("a") STOP("stop"),
     "provider_cut: the connection was lost after 2 events, between the finish reason and the end marker|a|?0+0",
     STREAM_END_RESET},
    {"openai", TEXT("a") STOP("stop") TOKENS("3", "4"),
     "provider_cut: the provider's stream fell silent after 3 events, between the finish reason and the end marker|a|3+4",
     STREAM_END_TIMEOUT},
    {"openai", TEXT("a"),
     "provider_cut: the provider's stream ended after 1 events, before its finish marker|a|?0+0",
     STREAM_END_CLEAN},
    {"openai", "", "provider_cut: the provider's stream ended after 0 events, before its finish marker||?0+0",
     STREAM_END_CLEAN},
    {"openai", TEXT("a") DONE,
     "provider_cut: the provider's stream ended after 2 events, its end marker without a finish reason|a|?0+0",
     STREAM_END_CLEAN},
    /* nothing behind the end is looked at */
    {"openai", TEXT("a") STOP("stop") DONE TEXT("b") "data: {\n\n", "a|stop|?0+0", STREAM_END_CLEAN},
    /* a reason with every chunk: only the last one counts */
    {"openai", TEXT("a") STOP("stop") TEXT("b"),
     "provider_cut: the provider's stream ended after 3 events, before its finish marker|ab|?0+0",
     STREAM_END_CLEAN},
    {"openai", TEXT("a") STOP("stop") TEXT("b") STOP("length") DONE, "ab|length|?0+0", STREAM_END_CLEAN},
    {"openai", TEXT("a") STOP("stop") TEXT("") SAY("\"role\":\"assistant\"") DONE, "a|stop|?0+0", STREAM_END_CLEAN},
    {"openai", TEXT("a") STOP("") DONE,
     "provider_cut: the provider's stream ended after 3 events, its end marker without a finish reason|a|?0+0",
     STREAM_END_CLEAN},
    {"openai", TEXT("a") SAY("\"content\":12") STOP("stop") DONE,
     "provider_bad_reply: the content of the provider's message is of kind int, no text|a|?0+0", STREAM_END_CLEAN},
    /* tokens are the final count with the reason or behind it */
    {"openai", TOKENS("3", "1") TEXT("a") STOP("stop") DONE, "a|stop|?3+1", STREAM_END_CLEAN},
    {"openai", TOKENS("3", "1") TEXT("a") STOP("stop") TOKENS("3", "2") DONE, "a|stop|3+2", STREAM_END_CLEAN},
    {"openai", TEXT("a") TOKENS("3", "1") STOP("stop") DONE, "a|stop|?3+1", STREAM_END_CLEAN},
    {"openai", TEXT("a") STOP("stop") TOKENS("3", "-2") DONE, "a|stop|3+0", STREAM_END_CLEAN},
    {"openai", TEXT("a") STOP("stop") TOKENS("3", "1") TEXT("b") STOP("stop") DONE, "ab|stop|?3+1", STREAM_END_CLEAN},
    /* tool calls: with index, without, always 0, an id on each piece */
    {"openai", CALL("\"index\":1,\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"{\"}")
               CALL("\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"1\"}")
               CALL("\"index\":1,\"function\":{\"arguments\":\"}\"}") STOP("tool_calls") DONE,
     "|tool_calls|?0+0|{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["
     "{\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}},"
     "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"1\"}}]}", STREAM_END_CLEAN},
    {"openai", CALL("\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\"}")
               CALL("\"function\":{\"arguments\":\"}\"}")
               CALL("\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}") STOP("tool_calls") DONE,
     "|tool_calls|?0+0|{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["
     "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},"
     "{\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]}", STREAM_END_CLEAN},
    {"openai", CALL("\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"1\"}")
               CALL("\"index\":0,\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"2\"}") STOP("tool_calls") DONE,
     "|tool_calls|?0+0|{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["
     "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"1\"}},"
     "{\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"2\"}}]}", STREAM_END_CLEAN},
    {"openai", CALL("\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"1\"}")
               CALL("\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"2\"}") STOP("tool_calls") DONE,
     "|tool_calls|?0+0|{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["
     "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"12\"}}]}", STREAM_END_CLEAN},
    {"openai", SAY("\"refusal\":\"I \"") SAY("\"refusal\":\"won't\"") STOP("stop") DONE,
     "|stop|?0+0|{\"role\":\"assistant\",\"content\":null,\"refusal\":\"I won't\"}", STREAM_END_CLEAN},
    {"openai", SAY("\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"thinking\"},{\"text\":\"b\"}]") STOP("stop") DONE,
     "ab|stop|?0+0", STREAM_END_CLEAN},
    {"openai", STOP("content_filter") DONE,
     "content_filter: the provider's content filter left nothing of the answer||?0+0", STREAM_END_CLEAN},
    /* errors, in all their forms */
    {"openai", TEXT("a") "data: {\"error\":\"it broke\"}\n\n",
     "provider_down: within the stream: the provider answered 500: it broke|a|?0+0", STREAM_END_CLEAN},
    {"openai", TEXT("a") "data: {\"error\":{\"message\":\"m\",\"code\":502}}\n\n",
     "provider_down: within the stream: the provider answered 502: m|a|?0+0", STREAM_END_CLEAN},
    {"openai", "data: {\"error\":{\"message\":\"m\",\"type\":\"insufficient_quota\"}}\n\n",
     "provider_quota: within the stream: the provider answered 429: m||?0+0", STREAM_END_CLEAN},
    {"openai", "data: {\"error\":{\"message\":\"m\",\"type\":\"invalid_request_error\",\"code\":\"context_length_exceeded\"}}\n\n",
     "context_length: within the stream: the provider answered 400: m||?0+0", STREAM_END_CLEAN},
    {"openai", "event: error\ndata: {\"message\":\"m\",\"type\":\"rate_limit_error\"}\n\n",
     "provider_rate_limit: within the stream: the provider answered 429: m||?0+0", STREAM_END_CLEAN},
    {"openai", TEXT("a") STOP("error") DONE,
     "provider_down: the provider finished its stream with an error|a|?0+0", STREAM_END_CLEAN},
    {"openai", TEXT("a") STOP("stop") "data: {\"error\":{\"message\":\"m\",\"code\":503}}\n\n",
     "provider_down: within the stream: the provider answered 503: m|a|?0+0", STREAM_END_CLEAN},
    {"openai", "data: {\"error\":null,\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n" DONE,
     "a|stop|?0+0", STREAM_END_CLEAN},
    /* what cannot be understood, and what says nothing */
    {"openai", TEXT("a") "data: {\"choices\":\n\n",
     "provider_bad_reply: event 2 of the provider's stream is not a JSON object|a|?0+0", STREAM_END_CLEAN},
    {"openai", "data: [1]\n\n",
     "provider_bad_reply: event 1 of the provider's stream is not a JSON object||?0+0", STREAM_END_CLEAN},
    {"openai", "data: {\"choices\":[{\"delta\":{\"content\":\"\xff\"}}]}\n\n",
     "provider_bad_reply: event 1 of the provider's stream is not a JSON object||?0+0", STREAM_END_CLEAN},
    {"openai", "data: {\"choices\":[{\"delta\":{\"content\":\"\\ud83d\"}}]}\n\n",
     "provider_bad_reply: event 1 of the provider's stream is not a JSON object||?0+0", STREAM_END_CLEAN},
    {"openai", "data: {\"choices\":7}\n\ndata: {\"choices\":[7,null]}\n\ndata: {\"choices\":[{\"delta\":[1],\"finish_reason\":{}}]}\n\n"
               "data: {\"choices\":[{\"delta\":{\"content\":null,\"tool_calls\":[7,null]}}],\"usage\":[],\"id\":9}\n\n" DONE,
     "provider_cut: the provider's stream ended after 5 events, its end marker without a finish reason||?0+0", STREAM_END_CLEAN},
    {"openai", "data: \n\ndata:  \n\n" TEXT("a") STOP("stop") DONE, "a|stop|?0+0", STREAM_END_CLEAN},
    {"openai", "<html>bad gateway</html>\n",
     "provider_cut: the provider's stream ended after 0 events, before its finish marker||?0+0", STREAM_END_CLEAN},
};

#define THOUGHT(text) SAY("\"content\":null,\"reasoning_content\":\"" text "\"")
#define USAGE(rest)   "data: {\"choices\":[],\"usage\":{" rest "}}\n\n"
#define LAST(reason, usage)                                                                        \
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\",\"reasoning_content\":null},"        \
    "\"finish_reason\":\"" reason "\"}],\"usage\":{" usage "}}\n\n"
#define FILTERED "data: {\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\",\"object\":\"\",\"prompt_filter_results\":[" \
                 "{\"prompt_index\":0,\"content_filter_results\":{\"hate\":{\"filtered\":false,\"severity\":\"safe\"}}}]}\n\n"

static const struct stream_case row_cases[] = {
    /* deepseek counts hits and misses, as in a whole reply; comments keep it alive while it thinks */
    {"deepseek", ": keep-alive\n\n" SAY("\"role\":\"assistant\",\"content\":\"\"") THOUGHT("They ") THOUGHT("greet.")
                 TEXT("Hel") TEXT("lo")
                 LAST("stop", "\"prompt_tokens\":100,\"completion_tokens\":40,\"prompt_tokens_details\":{\"cached_tokens\":60},"
                              "\"completion_tokens_details\":{\"reasoning_tokens\":30},\"prompt_cache_hit_tokens\":64,"
                              "\"prompt_cache_miss_tokens\":36") DONE,
     "Hello|stop|100+40(64,30)", STREAM_END_CLEAN},
    {"deepseek", TEXT("a") STOP("stop")
                 USAGE("\"completion_tokens\":4,\"prompt_cache_hit_tokens\":64,\"prompt_cache_miss_tokens\":36") DONE,
     "a|stop|100+4(64,0)", STREAM_END_CLEAN},
    {"deepseek", TEXT("a") STOP("stop")
                 USAGE("\"prompt_tokens\":10,\"completion_tokens\":4,\"prompt_cache_hit_tokens\":64,\"prompt_cache_miss_tokens\":-54,"
                       "\"completion_tokens_details\":{\"reasoning_tokens\":9}") DONE,
     "a|stop|10+4(10,4)", STREAM_END_CLEAN},
    {"openai", TEXT("a") STOP("stop") USAGE("\"prompt_tokens\":100,\"completion_tokens\":4,\"prompt_cache_hit_tokens\":64") DONE,
     "a|stop|100+4", STREAM_END_CLEAN},
    {"openai", TEXT("a") STOP("stop") USAGE("\"prompt_tokens\":10,\"completion_tokens\":4,\"prompt_tokens_details\":{\"cached_tokens\":11},"
                                            "\"completion_tokens_details\":{\"reasoning_tokens\":5}") DONE,
     "a|stop|10+4(10,4)", STREAM_END_CLEAN},
    {"deepseek", THOUGHT("They greet."),
     "provider_cut: the provider's stream ended after 1 events, before its finish marker||?0+0", STREAM_END_CLEAN},
    {"deepseek", THOUGHT("I need ") THOUGHT("it.") CALL("\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}")
                 LAST("tool_calls", "\"prompt_tokens\":1,\"completion_tokens\":2") DONE,
     "|tool_calls|1+2|{\"role\":\"assistant\",\"content\":\"\",\"reasoning_content\":\"I need it.\",\"tool_calls\":["
     "{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}", STREAM_END_CLEAN},
    {"deepseek", TEXT("Hel") LAST("insufficient_system_resource", "\"prompt_tokens\":7,\"completion_tokens\":1") DONE,
     "provider_down: the provider ended the answer with 'insufficient_system_resource'|Hel|7+1", STREAM_END_CLEAN},
    {"deepseek", "data: {\"error\":{\"message\":\"Content Exists Risk\",\"type\":\"invalid_request_error\"}}\n\n",
     "content_filter: within the stream: the provider answered 400: Content Exists Risk||?0+0", STREAM_END_CLEAN},
    /* azure tells what its filters saw before the answer, with it, and behind it */
    {"azure", FILTERED SAY("\"role\":\"assistant\",\"content\":\"\",\"refusal\":null") TEXT("Once")
              "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\" upon\"},\"content_filter_results\":{\"hate\":{\"filtered\":false}}}]}\n\n"
              STOP("stop") "data: {\"choices\":[{\"index\":0,\"finish_reason\":null,\"content_filter_results\":{},"
              "\"content_filter_offsets\":{\"check_offset\":0}}]}\n\n"
              USAGE("\"prompt_tokens\":2006,\"completion_tokens\":300,\"prompt_tokens_details\":{\"cached_tokens\":1920},"
                    "\"completion_tokens_details\":{\"reasoning_tokens\":256}") DONE,
     "Once upon|stop|2006+300(1920,256)", STREAM_END_CLEAN},
    {"azure", FILTERED TEXT("Once") STOP("content_filter") DONE, "Once|content_filter|?0+0", STREAM_END_CLEAN},
    {"azure", FILTERED STOP("content_filter") DONE,
     "content_filter: the provider's content filter left nothing of the answer||?0+0", STREAM_END_CLEAN},
    {"azure", FILTERED, "provider_cut: the provider's stream ended after 1 events, before its finish marker||?0+0", STREAM_END_CLEAN},
    {"azure", FILTERED "data: {\"error\":{\"code\":\"content_filter\",\"message\":\"m\",\"innererror\":{\"content_filter_result\":"
              "{\"violence\":{\"filtered\":true,\"severity\":\"medium\"}}}}}\n\n",
     "content_filter: within the stream: filtered for violence medium: the provider answered 400: m||?0+0", STREAM_END_CLEAN},
    /* qwen's tokens come behind the reason; its quota a minute is no lack of money */
    {"qwen", THOUGHT("They greet.") TEXT("Hello") STOP("stop")
             USAGE("\"prompt_tokens\":3019,\"completion_tokens\":104,\"total_tokens\":3123,\"prompt_tokens_details\":{\"cached_tokens\":2048},"
                   "\"completion_tokens_details\":{\"reasoning_tokens\":90,\"text_tokens\":14}") DONE,
     "Hello|stop|3019+104(2048,90)", STREAM_END_CLEAN},
    {"qwen", TEXT("a") "data: {\"error\":{\"message\":\"m\",\"type\":\"insufficient_quota\",\"code\":\"insufficient_quota\"}}\n\n",
     "provider_rate_limit: within the stream: the provider answered 429: m|a|?0+0", STREAM_END_CLEAN},
    {"qwen", TEXT("a") "data: {\"error\":{\"message\":\"m\",\"code\":\"data_inspection_failed\"}}\n\n",
     "content_filter: within the stream: the provider answered 500: m|a|?0+0", STREAM_END_CLEAN},
    /* hunyuan tells its tokens with every chunk, and moderates while it speaks */
    {"hunyuan", "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"\"}],\"usage\":{\"prompt_tokens\":9,"
                "\"completion_tokens\":1}}\n\n" LAST("sensitive", "\"prompt_tokens\":9,\"completion_tokens\":2") DONE,
     "a|content_filter|9+2", STREAM_END_CLEAN},
    {"hunyuan", LAST("sensitive", "\"prompt_tokens\":9,\"completion_tokens\":0") DONE,
     "content_filter: the provider's content filter left nothing of the answer||9+0", STREAM_END_CLEAN},
    {"openai", TEXT("a") STOP("sensitive") DONE, "a|sensitive|?0+0", STREAM_END_CLEAN},
    /* hyperbolic's servers say errors without "error" around them */
    {"hyperbolic", TEXT("a") "data: {\"object\":\"error\",\"message\":\"Engine is overloaded\",\"code\":503}\n\n",
     "provider_down: within the stream: the provider answered 503: Engine is overloaded|a|?0+0", STREAM_END_CLEAN},
    {"hyperbolic", TEXT("a") STOP("stop") USAGE("\"prompt_tokens\":5,\"total_tokens\":8,\"completion_tokens\":3") DONE,
     "a|stop|5+3", STREAM_END_CLEAN},
};

#define EVENT(name, rest) "event: " name "\ndata: {\"type\":\"" name "\"" rest "}\n\n"
#define START             EVENT("message_start", ",\"message\":{\"usage\":{\"input_tokens\":5,\"cache_creation_input_tokens\":2,\"output_tokens\":1}}")
#define DELTA(text)       EVENT("content_block_delta", ",\"delta\":{\"type\":\"text_delta\",\"text\":\"" text "\"}")
#define USE               EVENT("content_block_start", ",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}")
#define INPUT(json)       EVENT("content_block_delta", ",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"" json "\"}")
#define REASON(reason)    EVENT("message_delta", ",\"delta\":{\"stop_reason\":\"" reason "\"},\"usage\":{\"output_tokens\":9}")

static const struct stream_case anthropic_cases[] = {
    {"anthropic", START DELTA("a") REASON("end_turn") EVENT("message_stop", ""), "a|stop|7+9", STREAM_END_TIMEOUT},
    {"anthropic", START DELTA("a") REASON("end_turn"),
     "provider_cut: the provider's stream ended after 3 events, before its finish marker|a|7+9", STREAM_END_CLEAN},
    {"anthropic", START DELTA("a"),
     "provider_cut: the connection was lost after 2 events, before its finish marker|a|?7+1", STREAM_END_RESET},
    {"anthropic", START DELTA("a") EVENT("message_stop", ""), "a|stop|?7+1", STREAM_END_CLEAN},
    {"anthropic", EVENT("content_block_start", ",\"content_block\":{\"type\":\"text\",\"text\":\"a\"}")
                  EVENT("new_event", ",\"delta\":{\"text\":\"x\"}") REASON("new_reason") EVENT("message_stop", ""),
     "a|new_reason|0+9", STREAM_END_CLEAN},
    /* the event's name stands in for a type that is missing */
    {"anthropic", "event: message_stop\ndata: {}\n\n", "|stop|?0+0", STREAM_END_CLEAN},
    /* arguments become compact when they are JSON, and stay when they are not */
    {"anthropic", USE INPUT("{\\\"a\\\": ") INPUT("[1, 2]}") REASON("tool_use") EVENT("message_stop", ""),
     "|tool_calls|0+9|{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"t\",\"type\":\"function\","
     "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":[1,2]}\"}}]}", STREAM_END_CLEAN},
    {"anthropic", USE INPUT("{\\\"a\\\": ") REASON("max_tokens") EVENT("message_stop", ""),
     "|length|0+9|{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"t\",\"type\":\"function\","
     "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\": \"}}]}", STREAM_END_CLEAN},
    {"anthropic", INPUT("{}") REASON("end_turn") EVENT("message_stop", ""), "|stop|0+9", STREAM_END_CLEAN},
    {"anthropic", DELTA("a") EVENT("error", ",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}"),
     "provider_down: within the stream: the provider answered 529: Overloaded|a|?0+0", STREAM_END_CLEAN},
    {"anthropic", EVENT("error", ",\"error\":{\"type\":\"authentication_error\",\"message\":\"m\"}"),
     "provider_auth: within the stream: the provider answered 401: m||?0+0", STREAM_END_CLEAN},
    {"anthropic", EVENT("error", ",\"error\":{\"type\":\"never_heard_of\",\"message\":\"m\"}"),
     "provider_down: within the stream: the provider answered 500: m||?0+0", STREAM_END_CLEAN},
};

static const struct stream_case ollama_cases[] = {
    {"ollama", "{\"response\":\"a\",\"done\":false}\n{\"response\":\"b\",\"done\":true,\"eval_count\":2}", "ab|stop|0+2",
     STREAM_END_CLEAN},
    {"ollama", "{\"response\":\"a\",\"done\":false}\n{\"response\":\"b\",\"done\":true,\"eval_count\":2}",
     "provider_cut: the connection was lost after 1 events, before its finish marker|a|?0+0", STREAM_END_RESET},
    {"ollama", "{\"response\":\"a\",\"done\":false}\n{\"response\":\"b\",\"do",
     "provider_cut: the provider's stream ended after 1 events, before its finish marker|a|?0+0", STREAM_END_CLEAN},
    {"ollama", "{\"response\":\"a\",\"done\":\"true\"}\n{\"done\":1}\n",
     "provider_cut: the provider's stream ended after 2 events, before its finish marker|a|?0+0", STREAM_END_CLEAN},
    {"ollama", "{\"done\":true}\n",
     "provider_bad_reply: the provider's stream has neither a message nor a response||?0+0", STREAM_END_CLEAN},
    {"ollama", "{\"message\":{\"content\":\"a\",\"thinking\":\"hm\"}}\n{\"status\":\"x\"}\n{\"message\":{},\"done\":true}\n", "a|stop|?0+0",
     STREAM_END_CLEAN},
    {"ollama", "{\"response\":\"a\"}\n{\"error\":\"it broke\"}\n",
     "provider_down: within the stream: the provider answered with an error: it broke|a|?0+0", STREAM_END_CLEAN},
    {"ollama", "{\"error\":{\"message\":\"m\"}}\n",
     "provider_down: within the stream: the provider answered 500: |" "|?0+0", STREAM_END_CLEAN},
    {"ollama", "{\"response\":\"a\"}\nnonsense\n",
     "provider_bad_reply: event 2 of the provider's stream is not a JSON object|a|?0+0", STREAM_END_CLEAN},
};
/* clang-format on */

static void openai_and_those_who_speak_it_are_understood(void **state)
{
    (void)state;
    CHECK_ALL(openai_cases);
}

static void each_row_of_the_form_has_its_own_ways(void **state)
{
    (void)state;
    CHECK_ALL(row_cases);
}

static void anthropic_is_understood(void **state)
{
    (void)state;
    CHECK_ALL(anthropic_cases);
}

static void ollama_is_understood(void **state)
{
    (void)state;
    CHECK_ALL(ollama_cases);
}

/* Feeds `piece` again and again; the error that ends it. */
static struct err feed_until_refused(const char *vendor, const struct stream_limits *limits,
                                     const char *piece, size_t times_max)
{
    struct arena arena;
    struct answer answer;
    struct err err = {0};
    struct stream *stream = open_stream(vendor, limits, &arena);
    size_t times = 0;
    while (times < times_max && feed(stream, str_of(piece)) == STREAM_MORE)
        times++;
    assert_true(times < times_max);
    assert_int_equal(feed(stream, str_of(piece)), STREAM_FAILED); /* and stays so */
    stream_close(stream, STREAM_END_RESET);
    assert_false(stream_finish(stream, &answer, &err));
    assert_false(arena_overflowed(&arena));
    arena_done(&arena);
    return err;
}

static void each_limit_ends_the_stream(void **state)
{
    (void)state;
    const struct stream_limits small = {
        .event_bytes_max = 200, .answer_bytes_max = 100, .stream_bytes_max = 5000};
    static const struct {
        const char *vendor, *piece, *text;
    } limits[] = {
        {"openai", "data: 0123456789",
         "an event of the provider's stream is larger than 200 bytes"},
        {"openai", "data: 0123456789\n",
         "an event of the provider's stream is larger than 200 bytes"},
        {"ollama", "0123456789", "an event of the provider's stream is larger than 200 bytes"},
        {"openai", ": alive\n\n", "the whole of the provider's stream is larger than 5000 bytes"},
        {"anthropic", "data: {\"type\":\"ping\"}\n\n",
         "the whole of the provider's stream is larger than 5000 bytes"},
        {"ollama", "\n", "the whole of the provider's stream is larger than 5000 bytes"},
        {"openai", TEXT("0123456789"), "the provider's answer is larger than 100 bytes"},
        {"openai", SAY("\"refusal\":\"0123456789\""),
         "the provider's answer is larger than 100 bytes"},
        {"deepseek", THOUGHT("0123456789"), "the provider's answer is larger than 100 bytes"},
        {"openai", CALL("\"index\":0,\"function\":{\"arguments\":\"0123456789\"}"),
         "the provider's answer is larger than 100 bytes"},
        {"anthropic", DELTA("0123456789"), "the provider's answer is larger than 100 bytes"},
        {"ollama", "{\"response\":\"0123456789\"}\n",
         "the provider's answer is larger than 100 bytes"},
        {"ollama", "{\"message\":{\"tool_calls\":[{\"function\":{\"arguments\":{\"a\":[]}}}]}}\n",
         "the provider's answer is larger than 100 bytes"},
    };
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct err err = feed_until_refused(limits[i].vendor, &small, limits[i].piece, 6000);
        assert_int_equal(err.code, ERR_TOO_BIG);
        assert_string_equal(err.text, limits[i].text);
    }
}

static void there_are_only_so_many_calls(void **state)
{
    (void)state;
    struct arena arena;
    struct stream *stream = open_stream("openai", &roomy, &arena);
    for (int i = 0; i <= STREAM_CALLS_MAX; i++) {
        char call[200];
        snprintf(call, sizeof(call), CALL("\"index\":%d,\"id\":\"c%d\""), i, i);
        assert_int_equal(feed(stream, str_of(call)),
                         i < STREAM_CALLS_MAX ? STREAM_MORE : STREAM_FAILED);
    }
    assert_int_equal(stream->err.code, ERR_TOO_BIG);
    arena_done(&arena);
}

/* A million of them is what a hostile server sends; a few thousand show that nothing stays. */
static void small_events_leave_nothing_behind(void **state)
{
    (void)state;
    struct arena arena;
    struct stream *stream = open_stream("anthropic", &roomy, &arena);
    assert_int_equal(feed(stream, STR("data: {\"type\":\"ping\"}\n\n")), STREAM_MORE);
    size_t used = arena.used_bytes, scratch = stream->scratch.used_bytes;
    for (int i = 0; i < 5000; i++)
        feed(stream, STR("data: {\"type\":\"ping\"}\n\n"));
    assert_int_equal(arena.used_bytes, used);
    assert_int_equal(stream->scratch.used_bytes, scratch);
    assert_int_equal(stream->text.cap, 0);
    arena_done(&arena);
}

static void ten_thousand_brackets_are_an_error(void **state)
{
    (void)state;
    struct arena arena;
    struct answer answer;
    struct err err;
    struct buf deep;
    struct stream *stream = open_stream("openai", &roomy, &arena);
    buf_init(&deep, 1 << 16);
    buf_printf(&deep, "data: {\"choices\":");
    for (int i = 0; i < 10000; i++)
        buf_add_char(&deep, '[');
    buf_printf(&deep, "\n\n");
    assert_int_equal(feed(stream, buf_str(&deep)), STREAM_FAILED);
    stream_close(stream, STREAM_END_CLEAN);
    assert_false(stream_finish(stream, &answer, &err));
    assert_int_equal(err.code, ERR_PROVIDER_BAD_REPLY);
    buf_done(&deep);
    arena_done(&arena);
}

static void only_a_good_status_and_no_document_is_a_stream(void **state)
{
    (void)state;
    static const struct {
        const char *vendor;
        int status;
        const char *type;
        bool want;
    } replies[] = {
        {"openai", 200, "text/event-stream", true},
        {"openai", 200, "text/event-stream; charset=utf-8", true},
        {"openai", 200, NULL, true},
        {"openai", 200, "Application/JSON; charset=utf-8", false},
        {"openai", 429, "text/event-stream", false},
        {"anthropic", 529, "application/json", false},
        {"ollama", 200, "application/x-ndjson", true},
        {"ollama", 200, "application/json", true},
        {"ollama", 404, "application/json", false},
    };
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++)
        assert_int_equal(stream_expected(provider_by_name(str_of(replies[i].vendor))->stream,
                                         replies[i].status, str_of(replies[i].type)),
                         replies[i].want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(openai_and_those_who_speak_it_are_understood),
        cmocka_unit_test(each_row_of_the_form_has_its_own_ways),
        cmocka_unit_test(anthropic_is_understood),
        cmocka_unit_test(ollama_is_understood),
        cmocka_unit_test(each_limit_ends_the_stream),
        cmocka_unit_test(there_are_only_so_many_calls),
        cmocka_unit_test(small_events_leave_nothing_behind),
        cmocka_unit_test(ten_thousand_brackets_are_an_error),
        cmocka_unit_test(only_a_good_status_and_no_document_is_a_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
