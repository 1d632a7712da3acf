/**
 * A batch of any store, with failing allocations: in the adapter, and in the vendor's library under it. Whatever fails,
 * afterwards the batch is in the store or it is not.
 */
#ifndef TILLWIRE_TESTS_STORE_TORTURE_H
#define TILLWIRE_TESTS_STORE_TORTURE_H

#include "store_fixture.h"

/** For stores that outlive the process: empties the fixture's. */
void tw_store_torture(const struct tw_store_fixture *fixture);

#endif
