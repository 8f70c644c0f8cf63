/* Mapped files that fail while they are in use: cut by whoever writes into them, or on a disk or a
 * network share that does not deliver. Touching such a page would kill the process (SIGBUS). Here
 * it reads as zeros from then on, like all that follows in the mapping, and the mapping counts as
 * broken: whoever computed from it asks before using the result.
 *
 * The handler of SIGBUS is installed with the first mapping; faults elsewhere kill as ever. Up to
 * GUARD_MAPS_MAX mappings are guarded, further ones are not. Threads: any. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { GUARD_MAPS_MAX = 4096 };

void guard_add(const void *ptr, uint64_t n_bytes);
void guard_remove(const void *ptr); /* before it is unmapped; one that is not there is allowed */
bool guard_is_broken(const void *ptr);
