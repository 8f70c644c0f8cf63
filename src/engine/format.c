/* The form that a job's output must have, compiled when the job is submitted so that a bad schema
 * is refused at once. */
#include "base/limits.h"
#include "engine/job.h"

err_code job_compile_format(const engine_format *f, grammar **ret, err *e) {
    *ret = NULL;
    switch (f->kind) {
    case ENGINE_FORMAT_FREE:
        return ERR_OK;
    case ENGINE_FORMAT_JSON:
        return grammar_from_json(ret, e);
    case ENGINE_FORMAT_SCHEMA:
        return grammar_from_schema(f->schema, ret, e);
    case ENGINE_FORMAT_REGEX:
        return grammar_from_regex(f->text, ret, e);
    case ENGINE_FORMAT_GBNF:
        return grammar_from_gbnf(f->text, ret, e);
    }
    FAIL(e, INTERNAL, "unknown format %d", (int)f->kind);
}
