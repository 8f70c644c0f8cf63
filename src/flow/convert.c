/* Saved workflows to API graphs: not done yet, answers so. */
#include "flow/convert.h"
bool flow_is_workflow(const value *v) {
    const value *nodes = value_get(v, STR("nodes"));
    return nodes && nodes->kind == VALUE_LIST && value_get(v, STR("links"));
}
err_code flow_convert(const value *workflow, arena *a, value **ret, err *e) {
    (void)workflow, (void)a, (void)ret;
    FAIL(e, UNSUPPORTED, "saved workflows cannot be converted yet: export it in API format");
}
