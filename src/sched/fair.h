/* Hierarchical start-time fair queueing: class, then user, then request.
 *
 * Every node has a start tag: the device time it was given, divided by its weight. Of the awake
 * children of a node the one with the smallest tag has its turn; its tag becomes the node's
 * virtual time, and whoever wakes up starts no earlier than that, so idling earns no credit. Costs
 * are charged after the fact, as measured; nothing needs to be known in advance. Between two
 * classes that stay awake the difference of normalised service is at most one largest unit of each
 * (Goyal, Vin, Cheng: Start-time Fair Queueing, 1997).
 * Pure: no clock, no thread. Owner: the scheduler, under its lock. */
#pragma once
#include "base/str.h"
#include <stdint.h>

typedef enum sched_class {
    SCHED_CHAT,
    SCHED_EMBED,
    SCHED_IMAGE,
    SCHED_BACKGROUND,
    SCHED_CLASS_COUNT
} sched_class;

typedef struct sched_fair sched_fair;
typedef struct sched_flow sched_flow; /* one request; asleep when made */

/* weight[class] > 0; NULL = the defaults 8, 4, 4, 1. */
sched_fair *sched_fair_create(const int32_t *weight);
void sched_fair_destroy(sched_fair **f); /* every flow must be gone */

sched_flow *sched_flow_create(sched_fair *f, sched_class cls, str user);
void sched_flow_destroy(sched_flow **fl);
void sched_flow_wake(sched_flow *fl);  /* it has work; calling twice is fine */
void sched_flow_sleep(sched_flow *fl); /* it has none */
bool sched_flow_awake(const sched_flow *fl);
sched_class sched_flow_class(const sched_flow *fl);

/* Which of two requests has the earlier turn: < 0 for a. Ties go to the one created first, so equal
 * requests are first in, first out. */
int sched_flow_cmp(const sched_flow *a, const sched_flow *b);
/* The same for requests that wait for a place: class and user count, then age. */
int sched_flow_cmp_waiting(const sched_flow *a, const sched_flow *b);

/* Tells the tree that fl is served now: the virtual times move to its tags. */
void sched_flow_serve(sched_flow *fl);
/* Adds measured device time to the request, its user and its class. */
void sched_flow_charge(sched_flow *fl, int64_t device_ns);

/* True if fl may share a step that `lead` leads: it is of the same class or of one that is not
 * ahead. A class that is ahead would get further ahead, and the bound between classes would be
 * lost. */
bool sched_flow_may_join(const sched_flow *fl, const sched_flow *lead);

/* Normalised service of a class: nanoseconds divided by weight. For tests and metrics. */
double sched_fair_tag(const sched_fair *f, sched_class cls);
size_t sched_fair_users(const sched_fair *f); /* nodes held for users */
