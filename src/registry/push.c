/* Pushing a model: blobs the registry does not have, then the manifest. */
#include "registry/registry_impl.h"

err_code registry_push(registry *r, str name, bool insecure, const registry_report *report,
                       err *e) {
    (void)r, (void)name, (void)insecure, (void)report;
    FAIL(e, UNSUPPORTED, "not yet");
}
