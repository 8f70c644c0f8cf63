/* What suits a checkpoint, until image models can say. Weak: the file that knows takes its place.
 */
#include "engine/flow_job.h"

#define WEAK __attribute__((weak))

WEAK err_code engine_image_defaults_of(engine *eng, str checkpoint, arena *a,
                                       engine_image_defaults *ret, err *e) {
    (void)eng, (void)checkpoint, (void)a, (void)ret;
    FAIL(e, UNSUPPORTED, "workflows do not run yet");
}
