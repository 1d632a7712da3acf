/**
 * Breaks this process's own connections at the worst moments, below the vendor libraries: the program that links
 * net_faults.c has its own send(), recv() and their kin, which libpq, libmongoc and hiredis then call.
 *
 * Use: tw_net_fault(...) right before the one call that shall suffer, tw_net_fault_clear() after it; the latter tells
 * whether the fault happened, so that a test proves it did. A call may be several exchanges with its server: `marker`
 * says which is meant.
 *
 * Threads: a fault belongs to the thread that asked for it.
 */
#ifndef TILLWIRE_TESTS_NET_FAULTS_H
#define TILLWIRE_TESTS_NET_FAULTS_H

#include <stdbool.h>

enum tw_net_fault {
    TW_NET_WHOLE,        /**< nothing breaks */
    TW_NET_LOSE_ANSWER,  /**< the request arrives and is answered; the connection breaks before the answer does */
    TW_NET_LOSE_REQUEST, /**< the connection turns out to be broken when the request is written */
};

/** Concerns the next request whose bytes contain @p marker (static; NULL: the very next). */
void tw_net_fault(enum tw_net_fault fault, const char *marker);
/** Ends it; true when it happened. */
bool tw_net_fault_clear(void);

#endif
