/* An uploaded form: text fields in memory, files on disk beside where they will go.
 *
 * http_form_sink is the sink of a route that takes multipart/form-data. Files are written to
 * http_config.upload_dir as they arrive, so an upload of any length costs no memory; what is not
 * moved away by the handler is removed with the form. A form that is no form, too large or could
 * not be written is told apart by `problem`. Owner: the handler, which ends it with
 * http_form_destroy. Threads: the request's. */
#pragma once
#include "base/err.h"
#include "http/http.h"

typedef struct http_form_field {
    str name, text;
} http_form_field;

typedef struct http_form_file {
    str name;         /* of the field */
    str filename;     /* from a stranger */
    str content_type; /* empty when not given */
    const char *path; /* of the temporary file; NULL after http_form_take */
    uint64_t n_bytes;
} http_form_file;

typedef struct http_form {
    const http_form_field *fields;
    size_t n_fields;
    http_form_file *files;
    size_t n_files;
    err problem; /* code OK when the form is whole */
} http_form;

extern const http_sink http_form_sink;

str http_form_text(const http_form *f, const char *name);          /* ptr NULL when absent */
http_form_file *http_form_file_of(http_form *f, const char *name); /* NULL when absent */
/* Moves a file to `path`, replacing what is there, durably. */
err_code http_form_take(http_form_file *file, const char *path, err *e);
void http_form_destroy(http_form **f);
/* The request's form; its `problem` says whether it can be used. */
http_form *http_request_form(http_request *r);
