/* One thread that moves events from the engine to the connections.
 *
 * The engine's notify callback may only wake somebody up; this is who. A source is anything with
 * events to move: pump_wake says "there may be something" from any thread, and the pump thread
 * calls its `run` soon after, once for any number of wakes in between. A source is born held: wakes
 * come to nothing until its maker lets go, after which it is the pump's and may be gone any time.
 * Threads: every function but create and destroy may be called from any thread. */
#pragma once
#include <stdbool.h>

typedef struct pump pump;

typedef struct pump_source {
    void (*run)(struct pump_source *s); /* on the pump thread; may free itself after pump_forget */
    struct pump_source *next;           /* the pump's own */
    bool queued;                        /* the pump's own */
} pump_source;

pump *pump_create(void);
void pump_destroy(pump **p); /* what is queued then is not run any more */

void pump_hold(pump_source *s, void (*run)(pump_source *s)); /* before anybody may wake it */
void pump_let_go(pump *p, pump_source *s); /* and wakes it: events may have come meanwhile */
void pump_wake(pump *p, pump_source *s);
void pump_forget(pump *p, pump_source *s); /* after this `run` is not called again */
