/* Modelfiles: FROM, PARAMETER, TEMPLATE, SYSTEM, ADAPTER, LICENSE, MESSAGE, and what else they
 * hold.
 *
 * Read on the client's side: the server never opens a client's paths. Line oriented; a value is the
 * rest of the line, "quoted", or a block between triple quotes; UTF-8, or UTF-16 with a byte order
 * mark. Reference: Ollama's Modelfile. Everything lives in the arena. Threads: any. */
#pragma once
#include "base/err.h"
#include "base/str.h"

typedef struct modelfile_line {
    str command; /* lower case: "from", "parameter" ... */
    str key;     /* PARAMETER's name, MESSAGE's role; else empty */
    str text;
    int line_no;
} modelfile_line;

/* ERR_FORMAT names the line. At least one FROM is required. */
err_code modelfile_parse(arena *a, str text, modelfile_line **ret, size_t *ret_n, err *e);

/* Is it a parameter, and its value of the right kind? ERR_FORMAT says what it must be. */
err_code modelfile_check_parameter(str name, str text, err *e);
