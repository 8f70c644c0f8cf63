/* Wrong passwords: who may try again, and when.
 *
 * Counts failures by address with email, by address, and by email. After a few, each further one
 * doubles the wait. Counts fade when nothing happened for an hour. In memory only; a full table
 * forgets the oldest. Threads: any. */
#pragma once
#include "base/str.h"

struct web_throttle;

struct web_throttle *web_throttle_create(void);
void web_throttle_destroy(struct web_throttle **t);

/* Milliseconds to wait before the next try; 0: go on. */
int64_t web_throttle_wait(struct web_throttle *t, str address, str email);
void web_throttle_failed(struct web_throttle *t, str address, str email);
void web_throttle_passed(struct web_throttle *t, str address, str email);
