/*
 * commands.c -- the table of commands and their options, see cli.h.
 */
#include "producer/cli/cli.h"

/* clang-format off */
const struct option_row global_options[] = {
    {"config", 'c', "FILE", "configuration in YAML ($QUERN_CONFIG)"},
    {"set", 's', "KEY=VALUE", "one setting, stronger than file and environment"},
    {"kafka-property", 'X', "NAME=VALUE", "one librdkafka property"},
    {"output-format", 'o', "json|table", "how data is printed; usage also knows csv"},
    {"log-level", 'l', "LEVEL", "debug, info, warn or error, for the libraries' messages"},
    {"help", 'h', NULL, "this page"},
    {"version", 'V', NULL, "versions of this program and its libraries"},
    {0},
};

static const struct option_row submit_options[] = {
    {"file", 'f', "FILE", "the question is the text of this file"},
    {"lines", 'L', "FILE", "each line is a request document in JSON; -: standard input"},
    {"raw", 0, "FILE", "publish the file's bytes as they are, unchecked"},
    {"kind", 'k', "chat|embed", "a question, or a text to be turned into a vector (chat)"},
    {"model", 'm', "NAME", "configured model; several times: all of them are asked"},
    {"route", 0, "NAME", "configured route instead of models: one of its models answers"},
    {"session", 'S', "ID", "conversation this turn belongs to"},
    {"tenant", 't', "NAME", "whose request it is"},
    {"user", 'u', "NAME", "who asks"},
    {"id", 'i', "ID", "idempotency key; otherwise one is made"},
    {"system", 0, "TEXT", "system message"},
    {"temperature", 0, "T", "sampling temperature"},
    {"top-p", 0, "P", "nucleus sampling"},
    {"seed", 0, "N", "seed, where the provider has it"},
    {"max-tokens", 0, "N", "most tokens of the answer"},
    {"dimensions", 0, "N", "of kind embed: numbers in the vector"},
    {"policy", 0, "all|first", "how several models' answers become one"},
    {"deadline", 'd', "TIME", "after that no answer is wanted, e.g. 30s"},
    {"encoding", 'e', "json|msgpack", "encoding of the message"},
    {"reply-to", 0, "TOPIC", "topic for the reply"},
    {"batch-lane", 0, NULL, "publish to the topic of requests that may wait"},
    {"no-check", 0, NULL, "with --lines: publish lines as they are, even broken ones"},
    {"stream", 0, NULL, "have the text passed on as it comes, for quern follow"},
    {"wait", 'w', NULL, "wait for the reply and print it"},
    {"timeout", 0, "TIME", "with --wait: at most so long (60s)"},
    {0},
};

static const struct option_row batch_options[] = {
    {"output", 'O', "FILE", "one line per line of the input (FILE.out.jsonl)"},
    {"resume", 'r', NULL, "go on where an earlier run ended, with its output file"},
    {"model", 'm', "NAME", "instead of the models in the file"},
    {"tenant", 't', "NAME", "of lines that name none"},
    {"batch-id", 0, "ID", "beginning of the requests' ids; otherwise made from name and content of the file"},
    {"encoding", 'e', "NAME", "json, msgpack or alternate"},
    {"in-flight", 0, "N", "most unanswered requests (10000)"},
    {"deadline", 'd', "TIME", "after that no answer is wanted (24h)"},
    {"timeout", 0, "TIME", "give up when no reply comes for so long (never)"},
    {"progress", 0, "auto|never", "progress on stderr"},
    {0},
};

static const struct option_row topics_create_options[] = {
    {"partitions", 'p', "N", "instead of the count in topic.def"},
    {"replication", 'r', "N", "copies of each partition; otherwise the broker's default"},
    {0},
};

static const struct option_row topics_check_options[] = {
    {"partitions", 'p', "N", "the count that topics create was given"},
    {0},
};

static const struct option_row migrate_up_options[] = {
    {"timeout", 0, "TIME", "longest migration, and longest wait for another run (10m)"},
    {0},
};

static const struct option_row show_options[] = {
    {"tenant", 't', "NAME", "whose request it is (default)"},
    {0},
};

static const struct option_row follow_options[] = {
    {"tenant", 't', "NAME", "whose request it is (default)"},
    {"slot", 0, "N", "which of its models, from 0 (0)"},
    {"timeout", 0, "TIME", "give up when nothing comes for so long (60s)"},
    {0},
};

static const struct option_row usage_options[] = {
    {"by", 'b', "WORD,..", "a row for each day, tenant, user, model, provider; several, with commas (day)"},
    {"since", 0, "DATE|DAYS", "first day, as 2026-01-31, or so many days back, as 7d (30d)"},
    {"until", 0, "DATE", "last day, which counts (today)"},
    {"tenant", 't', "NAME", "only this tenant"},
    {"user", 'u', "NAME", "only this user"},
    {"model", 'm', "NAME", "only this configured model"},
    {"provider", 0, "NAME", "only this provider"},
    {"reconcile", 0, "FILE", "compare with a provider's bill or usage export, by day and model; may come several times"},
    {"tolerance", 0, "PERCENT", "with --reconcile: differences up to this share are none (0)"},
    {0},
};

static const struct option_row dead_list_options[] = {
    {"limit", 'n', "N", "the newest N (50)"},
    {"code", 0, "CODE", "only with this error"},
    {0},
};

static const struct option_row dead_show_options[] = {
    {"bytes", 'b', NULL, "only the original bytes"},
    {0},
};

static const struct option_row dead_retry_options[] = {
    {"code", 0, "CODE", "with all: only with this error"},
    {"new-id", 0, NULL, "under fresh ids, created now: a request whose failure is stored would get that again"},
    {0},
};

static const struct option_row reference_options[] = {
    {"prefix", 0, "NAME", "of the topics' names (quern)"},
    {0},
};

const struct command commands[] = {
    {"submit", "[TEXT|-]", "publish a request, or many", submit_options, 0, 1, 0, run_submit},
    {"batch run", "FILE", "answer all lines of a file, OpenAI's batch form or request documents", batch_options, 1, 1, 0, run_batch},
    {"show", "ID", "what became of a request", show_options, 1, 1, 0, run_show},
    {"follow", "ID", "the text of an answer while it is being written", follow_options, 1, 1, 0, run_follow},
    {"cancel", "ID", "end a request that nobody wants an answer to", show_options, 1, 1, 0, run_cancel},
    {"usage", "", "requests, calls, tokens and costs, summed", usage_options, 0, 0, COMMAND_CSV, run_usage},
    {"topics create", "", "make the topics that are missing", topics_create_options, 0, 0, 0, run_topics_create},
    {"topics check", "", "say what differs from what the topics should be", topics_check_options, 0, 0, 0, run_topics_check},
    {"migrate up", "", "bring the database's tables up to date", migrate_up_options, 0, 0, 0, run_migrate_up},
    {"migrate status", "", "say which migrations the database has", NULL, 0, 0, 0, run_migrate_status},
    {"config check", "", "say whether the configuration is usable", NULL, 0, 0, COMMAND_NO_CONF, run_config_check},
    {"config print", "", "the settings in force, without secrets", NULL, 0, 0, COMMAND_NO_CONF, run_config_print},
    {"config sample", "", "a commented file with all defaults", NULL, 0, 0, COMMAND_NO_CONF, run_config_sample},
    {"config reference", "", "all settings as a page", NULL, 0, 0, COMMAND_NO_CONF, run_config_reference},
    {"config schema", "", "JSON Schema of the file, for editors", NULL, 0, 0, COMMAND_NO_CONF, run_config_schema},
    {"doctor", "", "look at everything the fleet needs, and say how to mend it", NULL, 0, 0, 0, run_doctor},
    {"dead list", "", "records that could not be processed, newest last", dead_list_options, 0, 0, 0, run_dead_list},
    {"dead show", "PARTITION:OFFSET", "one of them, with its reason and original bytes", dead_show_options, 1, 1, 0, run_dead_show},
    {"dead retry", "PARTITION:OFFSET..|all", "publish the original bytes again", dead_retry_options, 1, CLI_WORDS_MAX, 0, run_dead_retry},
    {"reference", "PAGE", "messages, errors, topics, metrics, commands, asyncapi, crash-points, schema NAME", reference_options, 1, 2, COMMAND_NO_CONF, run_reference},
    {"completion", "bash", "completion for the shell: source <(quern completion bash)", NULL, 1, 1, COMMAND_NO_CONF, run_completion},
    {0},
};

const struct command_note command_notes[] = {
    {"batch run", "0 every line of the input has its line in the output, failed requests too; 1 not all have\n"},
    {"doctor", "78 the configuration is wrong: correct it first\n"
               "            69 a server is away, be it Kafka, PostgreSQL, Redis or a model's\n"
               "            1  something else is wrong: topics are missing, the schema is old, Redis refuses writes\n"
               "            0  all is well, or there are only warnings\n"},
    {"dead retry", "0 all were published, 1 one was not, or Kafka did not say, 69 Kafka is away\n"},
    {0},
};
/* clang-format on */
