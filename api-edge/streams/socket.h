/**
 * Which of the process's sockets belongs to a connection? civetweb 1.15 tells address and port of the other side, but not
 * its descriptor, and a stream needs it: to notice that the client went, with a word or without one, and to bound what
 * the kernel keeps for a client that does not read.
 */
#ifndef TILLWIRE_EDGE_SOCKET_H
#define TILLWIRE_EDGE_SOCKET_H

/** The open TCP socket whose peer this is (IPv4), -1 when there is none. Looks at every descriptor, which takes a
 *  microsecond each: once a stream, not once a request. The connection must stay open meanwhile. */
int  tw_socket_of_peer(const char *address, int port);
/** The kernel keeps at most about so much that the client has not taken. */
void tw_socket_bound(int socket, int bytes);
/** The connection is over when what was sent is not acknowledged, or not taken, for so long. */
void tw_socket_may_be_silent(int socket, int ms);

#endif
