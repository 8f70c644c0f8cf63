/* A small state machine over a buffer that holds what was not decided yet.
 *
 * The delimiter is CR LF "--" boundary; a form begins as if a line had just ended, so the first
 * delimiter needs no case of its own. */
#include "http/multipart.h"
#include "base/buf.h"
#include "base/limits.h"
#include <string.h>

typedef enum state { PREAMBLE, AFTER_DELIMITER, HEAD, BODY, COMPLETE, BAD } state;

struct multipart {
    multipart_events events;
    void *ctx;
    state state;
    buf delimiter; /* "\r\n--boundary" */
    buf pending;
    size_t n_parts;
};

static str header_param(str header, const char *name) {
    str rest = header;
    str_cut(&rest, ';');
    while (rest.len) {
        str key = str_trim(str_cut(&rest, '='));
        str out = {0};
        while (rest.len && rest.ptr[0] == ' ') rest = str_sub(rest, 1, rest.len);
        if (rest.len && rest.ptr[0] == '"') {
            size_t end = 1;
            while (end < rest.len && rest.ptr[end] != '"') end += rest.ptr[end] == '\\' ? 2 : 1;
            out = str_sub(rest, 1, end);
            rest = str_sub(rest, end, rest.len);
            str_cut(&rest, ';');
        } else {
            out = str_trim(str_cut(&rest, ';'));
        }
        if (str_eq_nocase(key, str_from(name))) return out.ptr ? out : STR("");
    }
    return (str){0};
}

bool multipart_boundary(str content_type, arena *a, str *ret_boundary) {
    str rest = content_type;
    str kind = str_trim(str_cut(&rest, ';'));
    if (!str_eq_nocase(kind, STR("multipart/form-data"))) return false;
    str boundary = header_param(content_type, "boundary");
    if (boundary.len == 0 || boundary.len > 70) return false;
    *ret_boundary = str_dup(a, boundary);
    return true;
}

multipart *multipart_create(str boundary, const multipart_events *events, void *ctx) {
    multipart *m = NEW(multipart);
    m->events = *events;
    m->ctx = ctx;
    buf_put_str(&m->delimiter, STR("\r\n--"));
    buf_put_str(&m->delimiter, boundary);
    buf_put_str(&m->pending, STR("\r\n"));
    return m;
}

void multipart_destroy(multipart **m) {
    if (!m || !*m) return;
    buf_finish(&(*m)->delimiter);
    buf_finish(&(*m)->pending);
    mem_free(*m);
    *m = NULL;
}

/* Browsers write a quote inside a name as %22 and older clients as \": both are undone. */
static str unquote(arena *a, str s) {
    char *out = str_cstr(a, s);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\\' && i + 1 < s.len) i++;
        if (str_starts(str_sub(s, i, s.len), STR("%22"))) {
            out[n++] = '"';
            i += 2;
        } else {
            out[n++] = s.ptr[i];
        }
    }
    out[n] = '\0';
    return (str){out, n};
}

static bool take_head(multipart *m, str head) {
    multipart_head h = {0};
    arena *a = arena_create(0);
    while (head.len) {
        str line = str_trim(str_cut(&head, '\n'));
        str value = line;
        str key = str_trim(str_cut(&value, ':'));
        value = str_trim(value);
        if (str_eq_nocase(key, STR("Content-Disposition"))) {
            str file = header_param(value, "filename");
            h.name = unquote(a, header_param(value, "name"));
            h.has_file = file.ptr != NULL;
            h.filename = unquote(a, file);
        } else if (str_eq_nocase(key, STR("Content-Type"))) {
            h.content_type = value;
        }
    }
    bool ok = ++m->n_parts <= LIMIT_FORM_PARTS && m->events.part(m->ctx, &h);
    arena_destroy(&a);
    return ok;
}

/* Position of the delimiter in what is pending, or -1. */
static ptrdiff_t find_delimiter(const multipart *m) {
    return str_find(buf_str(&m->pending), buf_str(&m->delimiter));
}

/* Everything that cannot be the start of a delimiter any more. */
static size_t n_certain(const multipart *m) {
    return m->pending.len < m->delimiter.len ? 0 : m->pending.len - m->delimiter.len + 1;
}

/* Each step consumes something and returns true, or needs more bytes and returns false. */
static bool step_preamble(multipart *m) {
    ptrdiff_t at = find_delimiter(m);
    if (at < 0) {
        buf_drop_front(&m->pending, n_certain(m));
        return false;
    }
    buf_drop_front(&m->pending, (size_t)at + m->delimiter.len);
    m->state = AFTER_DELIMITER;
    return true;
}

static bool step_after_delimiter(multipart *m) {
    str p = buf_str(&m->pending);
    size_t skip = 0;
    while (skip < p.len && (p.ptr[skip] == ' ' || p.ptr[skip] == '\t')) skip++;
    if (skip > LIMIT_FORM_HEAD_BYTES) m->state = BAD;
    if (p.len < skip + 2) return false;
    if (p.ptr[skip] == '-' && p.ptr[skip + 1] == '-' && skip == 0) {
        m->state = COMPLETE;
        return false;
    }
    if (p.ptr[skip] != '\r' || p.ptr[skip + 1] != '\n') {
        m->state = BAD;
        return false;
    }
    buf_drop_front(&m->pending, skip); /* the line's end stays: a head may be empty */
    m->state = HEAD;
    return true;
}

static bool step_head(multipart *m) {
    ptrdiff_t at = str_find(buf_str(&m->pending), STR("\r\n\r\n"));
    if (at < 0 || at > (ptrdiff_t)LIMIT_FORM_HEAD_BYTES) {
        if (at > 0 || m->pending.len > LIMIT_FORM_HEAD_BYTES) m->state = BAD;
        return false;
    }
    bool ok = take_head(m, str_sub(buf_str(&m->pending), 0, (size_t)at));
    buf_drop_front(&m->pending, (size_t)at + 4);
    m->state = ok ? BODY : BAD;
    return ok;
}

static bool step_body(multipart *m) {
    ptrdiff_t at = find_delimiter(m);
    size_t n = at < 0 ? n_certain(m) : (size_t)at;
    if (n && !m->events.data(m->ctx, m->pending.ptr, n)) {
        m->state = BAD;
        return false;
    }
    buf_drop_front(&m->pending, n);
    if (at < 0) return false;
    buf_drop_front(&m->pending, m->delimiter.len);
    m->state = m->events.end(m->ctx) ? AFTER_DELIMITER : BAD;
    return m->state != BAD;
}

static bool step(multipart *m) {
    switch (m->state) {
    case PREAMBLE:
        return step_preamble(m);
    case AFTER_DELIMITER:
        return step_after_delimiter(m);
    case HEAD:
        return step_head(m);
    case BODY:
        return step_body(m);
    case COMPLETE:
    case BAD:
        break;
    }
    return false;
}

bool multipart_put(multipart *m, const void *bytes, size_t n_bytes) {
    if (m->state == BAD) return false;
    if (m->state == COMPLETE) return true; /* an epilogue is ignored */
    buf_put(&m->pending, bytes, n_bytes);
    while (step(m)) {
    }
    return m->state != BAD;
}

bool multipart_complete(const multipart *m) {
    return m->state == COMPLETE;
}
