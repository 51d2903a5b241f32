/*
 * message.h -- reads messages in OpenAI's form: {"role": .., "content": text or a list of parts}.
 */
#ifndef QUERN_AGGREGATOR_MESSAGE_H
#define QUERN_AGGREGATOR_MESSAGE_H

#include "common/base/arena.h"
#include "common/data/value.h"

/* The text of the content; the text parts of a list, joined by newlines. Absent: no text. */
struct str message_text(const struct value *message, struct arena *arena);
/* Nothing but a role and a text: a row of two columns says it all. */
bool message_is_plain(const struct value *message);
/* The text of the last message of the user in a list of messages. */
struct str message_question(const struct value *messages, struct arena *arena);

#endif
