/*
 * estimate.c -- see estimate.h.
 */
#include "worker/call/estimate.h"

static const double bytes_per_token_first = 4, output_first = 256, weight = 1.0 / 16;

static double mean(double learned, double first)
{
    return learned > 0 ? learned : first;
}

int64_t estimate_tokens(const struct estimate *estimate, size_t bytes, int64_t output_max)
{
    double input = (double)bytes / mean(estimate->bytes_per_token, bytes_per_token_first);
    double output = mean(estimate->output, output_first) * 1.25;
    if (output_max > 0 && output > (double)output_max)
        output = (double)output_max;
    return (int64_t)(input + output) + 1;
}

static double moved(double learned, double seen)
{
    return learned > 0 ? learned + (seen - learned) * weight : seen;
}

void estimate_learn(struct estimate *estimate, size_t bytes, int64_t input, int64_t output)
{
    if (input > 0 && bytes > 0)
        estimate->bytes_per_token = moved(estimate->bytes_per_token, (double)bytes / (double)input);
    if (output > 0)
        estimate->output = moved(estimate->output, (double)output);
}
