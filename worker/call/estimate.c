/*
 * estimate.c -- see estimate.h.
 */
#include "worker/call/estimate.h"

#include <math.h>

static const double bytes_per_token_first = 4, output_first = 256, weight = 1.0 / 16;

static double mean(double learned, double first)
{
    return learned > 0 ? learned : first;
}

static void estimate_both(const struct estimate *estimate, size_t bytes, int64_t output_max,
                          double *ret_input, double *ret_output)
{
    double output = mean(estimate->output, output_first) * 1.25;
    *ret_input = (double)bytes / mean(estimate->bytes_per_token, bytes_per_token_first);
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
    if (isnan(price_input) || isnan(price_output))
        return 0;
    estimate_both(estimate, bytes, output_max, &input, &output);
    return (int64_t)ceil(input * price_input + output * price_output);
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
