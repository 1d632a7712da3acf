/** The saga of an e-mail change: who asks whom next. See member_email.c for the three steps. */
#ifndef TILLWIRE_MEMBER_POLICY_H
#define TILLWIRE_MEMBER_POLICY_H

#include "tillwire/policy.h"

extern const struct tw_policy tw_member_email_policy;

#endif
