/* Errors are values.
 *
 * A function that can fail for a reason the user should read returns an err_code and takes an
 * `err *e` last. It fills the message where the failure is found (FAIL) and callers pass the code
 * on unchanged (TRY). Out-parameters are called ret_x and are written only on success.
 * Library layers never log. Messages name the thing, the value and what to do about it.
 * Threads: an err belongs to its caller; nothing here is shared. */
#pragma once

typedef enum err_code {
    ERR_OK = 0,
    ERR_NOMEM,        /* host memory is exhausted */
    ERR_DEVICE_NOMEM, /* the ledger or the device has no room for this */
    ERR_IO,           /* the operating system refused a read, write or socket call */
    ERR_FORMAT,       /* foreign bytes (file, body, template) do not follow their format */
    ERR_INVALID,      /* a caller's value is out of range or makes no sense */
    ERR_NOT_FOUND,    /* a named thing does not exist */
    ERR_BUSY,         /* a queue is full; trying again later may succeed */
    ERR_LIMIT,        /* a limit of base/limits.h was reached */
    ERR_CANCELLED,    /* the caller went away or asked to stop */
    ERR_UNSUPPORTED,  /* well-formed, but not something this build can do */
    ERR_DEVICE,       /* the device failed while computing */
    ERR_INTERNAL,     /* a broken promise of our own */
    ERR_CODE_COUNT
} err_code;

#define ERR_MSG_BYTES 1024

typedef struct err {
    err_code code;
    char msg[ERR_MSG_BYTES]; /* NUL-terminated UTF-8, cut if longer */
} err;

/* Fills *e (NULL allowed) and returns `code`. */
err_code err_set(err *e, err_code code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts `fmt: ` in front of the message already in *e, for context on the way up. */
err_code err_wrap(err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Lower-case name of a code, such as "not_found". Never NULL. */
const char *err_name(err_code code);

/* The HTTP status that a code answers with when nothing more specific is known. */
int err_http_status(err_code code);

#define FAIL(e, CODE, ...) return err_set((e), ERR_##CODE, __VA_ARGS__)
#define TRY(call)                                                                                  \
    do {                                                                                           \
        err_code try_code_ = (call);                                                               \
        if (try_code_ != ERR_OK) return try_code_;                                                 \
    } while (0)
