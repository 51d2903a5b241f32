/*
 * estimate.c -- see estimate.h.
 */
#include "worker/call/estimate.h"

#include <math.h>

enum { MESSAGE_BYTES = 32, IMAGE_BYTES = 4000, TELLING_BYTES = 128 };
static const double bytes_per_token_first = 4, output_first = 256, weight = 1.0 / 16, odd = 16;

static size_t strings_of(const struct value *value)
{
    size_t bytes = 0;
    if (value->kind == VALUE_STR)
        return str_starts(value->text, STR("data:")) ? IMAGE_BYTES : value->text.len;
    for (uint32_t i = 0; value->kind == VALUE_LIST && i < value->count; i++)
        bytes += strings_of(&value->items[i]);
    for (uint32_t i = 0; value->kind == VALUE_MAP && i < value->count; i++)
        bytes += strings_of(&value->pairs[i].value);
    return bytes;
}

size_t estimate_bytes(const struct value *messages, size_t otherwise)
{
    if (!messages || messages->kind != VALUE_LIST)
        return otherwise;
    return strings_of(messages) + (size_t)messages->count * MESSAGE_BYTES;
}

/* Short questions and long ones learn apart: what one kind has around its text says nothing of the
 * other. */
static double input_of(const struct estimate *estimate, size_t bytes)
{
    if (bytes < TELLING_BYTES)
        return (double)bytes / bytes_per_token_first + estimate->more;
    if (estimate->tokens > 0)
        return (double)bytes * estimate->tokens / estimate->bytes;
    return (double)bytes / bytes_per_token_first;
}

static void estimate_both(const struct estimate *estimate, size_t bytes, int64_t output_max,
                          double *ret_input, double *ret_output)
{
    double output = (estimate->output > 0 ? estimate->output : output_first) * 1.25;
    *ret_input = input_of(estimate, bytes);
    if (output_max == ESTIMATE_NO_OUTPUT)
        output = 0;
    *ret_output = output_max > 0 && output > (double)output_max ? (double)output_max : output;
}

int64_t estimate_tokens(const struct estimate *estimate, size_t bytes, int64_t output_max)
{
    double input, output;
    estimate_both(estimate, bytes, output_max, &input, &output);
    return (int64_t)(input + output) + 1;
}

int64_t estimate_cost(const struct estimate *estimate, size_t bytes, int64_t output_max,
                      double price_input, double price_output)
{
    double input, output;
    estimate_both(estimate, bytes, output_max, &input, &output);
    if (isnan(price_input) || (isnan(price_output) && output > 0))
        return 0;
    return (int64_t)ceil(input * price_input + (output > 0 ? output * price_output : 0));
}

/* One odd count, in which nobody used a billion tokens, must not make all that follows look large:
 * it teaches no more than sixteen times of what is usual. */
static double moved(double learned, double seen, double usual)
{
    double most = odd * (learned > usual ? learned : usual);
    seen = seen < most ? seen : most;
    return learned > 0 ? learned + (seen - learned) * weight : seen;
}

void estimate_learn(struct estimate *estimate, size_t bytes, int64_t input, int64_t output)
{
    if (input > 0 && bytes >= TELLING_BYTES) {
        double usual = (double)bytes / bytes_per_token_first;
        estimate->tokens = moved(estimate->tokens, (double)input, usual);
        estimate->bytes = moved(estimate->bytes, (double)bytes, (double)bytes);
    } else if (input > 0 && bytes > 0) {
        double more = (double)input - (double)bytes / bytes_per_token_first;
        estimate->more = moved(estimate->more, more > 0 ? more : 0, output_first);
    }
    if (output > 0)
        estimate->output = moved(estimate->output, (double)output, output_first);
}
