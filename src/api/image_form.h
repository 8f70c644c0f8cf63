/* The body of OpenAI's image edits as its SDKs send it: a form instead of JSON. Threads: any. */
#pragma once
#include "api/comfy.h"

/* The request's body as a JSON object: parsed, or made of a form's fields, with files ("image",
 * "image[]") in base64 and numbers as numbers. NULL: *e says why. Freed with the request. */
json_t *image_form_body(http_request *r, err *e);
