/* Pictures converted behind the engine boundary: foreign files are decoded where models run, never
 * in the front. Paths and bytes cross, nothing else. Threads: any. */
#pragma once
#include "base/buf.h"
#include "engine/engine.h"

typedef enum engine_picture_format {
    ENGINE_PICTURE_PNG,
    ENGINE_PICTURE_JPEG,
    ENGINE_PICTURE_WEBP
} engine_picture_format;

typedef enum engine_picture_channel {
    ENGINE_PICTURE_ALL,
    ENGINE_PICTURE_RGB,  /* without alpha */
    ENGINE_PICTURE_ALPHA /* black with the file's alpha; opaque where it has none */
} engine_picture_channel;

typedef struct engine_picture_form {
    engine_picture_format format;
    engine_picture_channel channel;
    int quality; /* JPEG, WebP: 0 to 100 */
} engine_picture_form;

/* The first frame of a picture file in another form, appended to *out. Errors of image_decode. */
err_code engine_picture_convert(engine *eng, const char *path, const engine_picture_form *form,
                                buf *out, err *e);
/* `path`'s picture with the alpha of `mask_path`'s (scaled when their sizes differ) as a PNG that
 * keeps the texts of `path`'s. */
err_code engine_picture_with_alpha(engine *eng, const char *path, const char *mask_path, buf *out,
                                   err *e);
/* INVALID when the bytes are no picture that can be decoded; *ret_ext is ".png" and the like. */
err_code engine_picture_check(engine *eng, str bytes, const char **ret_ext, err *e);
