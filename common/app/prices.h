/*
 * prices.h -- what providers' tokens cost: the file of setting `prices_file`, and what a model's
 * own settings say, which wins.
 *
 * The file (deploy/prices.yaml is one to start from) has a date, a currency and a price per
 * "PROVIDER/MODEL", where '*' stands for any text; of several that fit, the one with most other
 * letters counts. Prices are US dollars per million tokens.
 */
#ifndef QUERN_COMMON_APP_PRICES_H
#define QUERN_COMMON_APP_PRICES_H

#include <stdbool.h>
#include <stddef.h>

#include "common/app/shared_conf.h"

struct price {
    double input, output, cached_input, cache_write; /* NAN: none */
};

struct prices;

/* An empty path is an empty list. ERR_CONFIG names file and line. */
struct prices *prices_load(struct str path, struct err *err);
void prices_free(struct prices *prices); /* takes NULL */
/* As it stands in the file; absent without a file. */
struct str prices_date(const struct prices *prices);
size_t prices_count(const struct prices *prices);

/* What the model's calls cost: its own price_* settings, the file where they say nothing. Where
 * both price_input and price_output are set the file is not asked. False: not known. */
bool prices_of(const struct prices *prices, const struct model_conf *model, struct price *ret);

#endif
