/* Compressed request bodies: Content-Encoding zstd (Codex sends its long histories so) and gzip.
 * Threads: any. */
#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* Whether a body with this header is as it is: none, or "identity". */
bool inflate_is_plain(str coding);
/* Appends the body to *ret. UNSUPPORTED names a coding that is not known, FORMAT a body that is not
 * what it says, LIMIT more than max_bytes; nothing larger is ever held. */
err_code inflate_body(str coding, str body, uint64_t max_bytes, buf *ret, err *e);
