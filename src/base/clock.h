/* Time. Durations are int64_t nanoseconds. Threads: any. */
#pragma once
#include "base/str.h"

#define NS_PER_S INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_US INT64_C(1000)
#define CLOCK_FOREVER INT64_MAX /* a moment or duration that never comes */

int64_t clock_mono_ns(void); /* monotonic, for durations */
int64_t clock_wall_ns(void); /* since 1970-01-01 UTC */

#define CLOCK_TEXT_BYTES 40
/* RFC 3339 in UTC with up to nine sub-second digits (trailing zeros cut), e.g.
 * "2026-08-21T10:11:12.123456789Z". Returns out. */
char *clock_rfc3339_utc(char out[CLOCK_TEXT_BYTES], int64_t wall_ns);
/* The same in local time with its offset, e.g. "2026-08-21T12:11:12.123456789+02:00". */
char *clock_rfc3339_local(char out[CLOCK_TEXT_BYTES], int64_t wall_ns);

/* Go's duration syntax: "300ms", "-1.5h", "2h45m", "0". False if malformed. Saturates. */
bool clock_parse_go(str text, int64_t *ret_ns);
