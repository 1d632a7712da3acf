/**
 * What started this process and looks after it (systemd with Type=notify) is told how it is: one datagram to the socket
 * that NOTIFY_SOCKET names. Nothing happens where there is no such socket.
 */
#ifndef TILLWIRE_SUPERVISOR_H
#define TILLWIRE_SUPERVISOR_H

#include "tillwire/base.h"

/** @p words: lines as of sd_notify(3), "READY=1\nSTATUS=ready". Never blocks; whoever does not listen is not waited for.
 *  False: nobody was told. Any thread. */
bool tw_supervisor_tell(const char *words);

#endif
