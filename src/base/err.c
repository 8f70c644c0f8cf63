/* Errors as values: the codes, their names and their HTTP statuses. */
#include "base/err.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int http_status;
} CODES[ERR_CODE_COUNT] = {
    [ERR_OK] = {"ok", 200},
    [ERR_NOMEM] = {"nomem", 500},
    [ERR_DEVICE_NOMEM] = {"device_nomem", 500},
    [ERR_IO] = {"io", 500},
    [ERR_FORMAT] = {"format", 400},
    [ERR_INVALID] = {"invalid", 400},
    [ERR_NOT_FOUND] = {"not_found", 404},
    [ERR_BUSY] = {"busy", 503},
    [ERR_LIMIT] = {"limit", 400},
    [ERR_CANCELLED] = {"cancelled", 499},
    [ERR_UNSUPPORTED] = {"unsupported", 501},
    [ERR_DEVICE] = {"device", 500},
    [ERR_INTERNAL] = {"internal", 500},
};

err_code err_set(err *e, err_code code, const char *fmt, ...) {
    if (!e) return code;
    e->code = code;
    va_list args;
    va_start(args, fmt);
    vsnprintf(e->msg, sizeof e->msg, fmt, args);
    va_end(args);
    return code;
}

err_code err_wrap(err *e, const char *fmt, ...) {
    if (!e) return ERR_INTERNAL;
    char inner[ERR_MSG_BYTES];
    memcpy(inner, e->msg, sizeof inner);
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(e->msg, sizeof e->msg, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof e->msg) return e->code;
    size_t room = sizeof e->msg - (size_t)n; // what does not fit is cut, which is meant
    snprintf(e->msg + n, room, ": %.*s", (int)room - 1, inner);
    return e->code;
}

const char *err_name(err_code code) {
    return (unsigned)code < ERR_CODE_COUNT ? CODES[code].name : "unknown";
}

int err_http_status(err_code code) {
    return (unsigned)code < ERR_CODE_COUNT ? CODES[code].http_status : 500;
}
