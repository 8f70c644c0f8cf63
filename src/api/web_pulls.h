/* Models on their way here: the server pulls, whoever looks. Threads: any. */
#pragma once
#include "api/web.h"

struct web_pulls *web_pulls_create(void);
void web_pulls_stop(struct web_pulls *p);
void web_pulls_destroy(struct web_pulls **p);
