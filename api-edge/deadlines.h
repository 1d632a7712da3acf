/**
 * Ends the reading of a body, and the writing of an answer, that takes too long. civetweb's mg_read() returns when it has all it was asked for, however
 * slowly the bytes drip, and does not tell its socket. So a thread of ours looks twice a second for readers that are too
 * late, finds their socket among the process's own by the client's address and port, and shuts it for reading: the read
 * ends, and the client can still be told why. mg_write() waits just as long for a client that does not take its answer: it,
 * too, is ended, and with it the connection.
 */
#ifndef TILLWIRE_EDGE_DEADLINES_H
#define TILLWIRE_EDGE_DEADLINES_H

#include <stdatomic.h>
#include <stdint.h>

struct tw_deadlines;

/** One reading or writing thread. Its fields are written by that thread, `until_us` last. */
struct tw_reading {
    atomic_int_least64_t  until_us; /**< tw_monotonic_us(); 0: it does not read */
    atomic_uint_least32_t address;  /**< IPv4, network order */
    atomic_uint_least16_t port;     /**< host order */
    atomic_int            how;      /**< SHUT_RD; of a write SHUT_RDWR */
    struct tw_reading    *next;
};

struct tw_deadlines *tw_deadlines_new(void);
/** Accepts NULL. All readings are removed. */
void                 tw_deadlines_free(struct tw_deadlines *deadlines);

/** From here to its removal a thread's reading is looked after; it does not move meanwhile. */
void tw_deadlines_add(struct tw_deadlines *deadlines, struct tw_reading *reading);
void tw_deadlines_remove(struct tw_deadlines *deadlines, struct tw_reading *reading);

/** The calling thread begins to read from @p address ("192.0.2.1") and @p port, at most until @p until_us. */
void tw_reading_begin(struct tw_reading *reading, const char *address, int port, int64_t until_us);
/** The same for a write, at whose end the connection is of no more use. */
void tw_writing_begin(struct tw_reading *reading, const char *address, int port, int64_t until_us);
/** Of either. */
void tw_reading_end(struct tw_reading *reading);

#endif
