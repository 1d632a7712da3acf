/**
 * Sample states of the three domains, for everything that keeps states without asking what they mean.
 */
#ifndef TILLWIRE_TESTS_SAMPLE_STATES_H
#define TILLWIRE_TESTS_SAMPLE_STATES_H

#include "store_fixture.h"

extern const struct tw_sample_states tw_sample_members;
extern const struct tw_sample_states tw_sample_products; /**< and their ratings; every number divisible by 4, and the
                                                             one before it, is a product */
extern const struct tw_sample_states tw_sample_carts;

#endif
