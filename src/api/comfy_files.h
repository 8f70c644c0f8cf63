/* Pictures in output, input and temp by the names that clients use. Threads: any. */
#pragma once
#include "api/comfy.h"

/* The directory of a type: "output", "input", "temp"; false for others. */
bool comfy_dir(const comfy *c, str type, str *ret_dir);
/* "name [output]" and the like: cuts the note off and returns its type; else `fallback`. */
str comfy_annotation(str *name, str fallback);
/* dir[/subfolder]/name; false when it would leave the directory. */
bool comfy_file_path(arena *a, str dir, str subfolder, str name, str *ret_path);
/* The path of a file as ui objects name it: {filename, subfolder, type}. */
bool comfy_ui_path(const comfy *c, const json_t *item, arena *a, str *ret_path);
