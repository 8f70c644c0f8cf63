/* Chat templates by name, for models that come with none: what a Modelfile's RENDERER means.
 *
 * Written in Jinja like any model's own, after the published prompt formats of the families. A
 * model file's own template is to be preferred. */
#pragma once
#include "base/str.h"

/* NULL: no renderer of this name. */
const char *renderer_template(str name);
