/* Whose folders: see env.h. Checked where nodes run, because a name may be put together there. */
#include "flow/env.h"
#include <ctype.h>

enum { ID_BYTES = 36 };

static bool is_id(str s) {
    if (s.len != ID_BYTES) return false;
    for (size_t i = 0; i < s.len; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? s.ptr[i] != '-' : !isxdigit((unsigned char)s.ptr[i])) return false;
    }
    return true;
}

bool flow_may_read(const flow_folders *f, str name) {
    str first = str_cut(&name, '/');
    return f->owner.len == 0 || !name.ptr || !is_id(first) || str_eq(first, f->owner);
}
