/* What the machine is doing: sampled once a second, for the page. Its thread also keeps the event
 * streams awake. Threads: any. */
#pragma once
#include "api/web.h"

struct web_meter *web_meter_create(web *w);
void web_meter_start(struct web_meter *m); /* once everything else is there */
void web_meter_stop(struct web_meter *m);
void web_meter_destroy(struct web_meter **m);
