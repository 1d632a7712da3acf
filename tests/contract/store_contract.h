/**
 * What every store must do, whatever is behind it: the rules of tillwire/store.h, one test a rule. An adapter's test
 * program describes its server in a struct tw_store_fixture and hands it over.
 *
 * The server of the fixture is emptied again and again: never name one whose content you need.
 */
#ifndef TILLWIRE_TESTS_STORE_CONTRACT_H
#define TILLWIRE_TESTS_STORE_CONTRACT_H

#include "store_fixture.h"

/** The whole of a test program's main(). Fails when the fixture's server is not named in the environment, unless
 *  TW_SKIP_STORES=1. TW_SEED chooses the interleavings of the random test. */
int tw_store_contract_main(int argc, char **argv, const struct tw_store_fixture *fixture);

#endif
