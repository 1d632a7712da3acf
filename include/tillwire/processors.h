/**
 * How many processors there are for this process: a container, a systemd unit or `taskset` may leave it fewer than the
 * machine has, and threads beyond those only wait for one another.
 */
#ifndef TILLWIRE_PROCESSORS_H
#define TILLWIRE_PROCESSORS_H

#include "tillwire/base.h"

/** Those that it may run on, or fewer where a control group has a quota; 1 at least. As of now: neither is watched. */
int tw_processors(void);
/** What quotas leave of @p processors, 1 at least: that of the process's control group (version 2) and of each around it.
 *  Two and a half count as two. Looked up below @p root, which is "" but in tests; what cannot be read bounds nothing. */
int tw_processors_within_quota(const char *root, int processors);

#endif
