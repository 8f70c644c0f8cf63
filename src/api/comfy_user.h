/* Whose settings and files. One user, "default", where no account is
 * asked for; else each has their own. Threads: any. */
#pragma once
#include "api/comfy.h"

/* The user's directory (made when missing), absolute. */
str comfy_user_dir(comfy *c, http_request *r);
