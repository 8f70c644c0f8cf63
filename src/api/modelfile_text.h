/* A model's parts written back as a Modelfile, as /api/show and `hob show --modelfile` give them.
 */
#pragma once
#include "api/models.h"

str modelfile_text(store *s, arena *a, const api_model *m);
/* One "key      value" line each, strings quoted. */
str modelfile_parameters(arena *a, const api_model *m);
/* The licence texts, joined by a line feed. */
str modelfile_license(store *s, arena *a, const api_model *m);
