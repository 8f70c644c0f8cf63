/* Whose settings and files. One user, "default", as a server without accounts has. Threads: any. */
#pragma once
#include "api/comfy.h"

/* The user's directory (made when missing), absolute. */
str comfy_user_dir(comfy *c, arena *a);
