/* Answers that are files: descriptors go to libmicrohttpd, which sends them without a copy. */
#include "http/request.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef struct range {
    uint64_t from, len;
} range;

/* "bytes=a-b", "bytes=a-", "bytes=-n": 206 and *ret, 416 when outside, 200 for anything else
 * (several ranges, other units), as RFC 9110 allows. */
static int parse_range(str header, uint64_t n_bytes, range *ret) {
    int64_t from = -1, to = -1;
    if (!str_starts(header, STR("bytes=")) || str_find_char(header, ',') >= 0) return 200;
    str rest = str_sub(header, 6, header.len);
    str first = str_trim(str_cut(&rest, '-'));
    rest = str_trim(rest);
    if ((first.len && !str_to_i64(first, &from)) || (rest.len && !str_to_i64(rest, &to)))
        return 200;
    if (first.len == 0) { /* the last `to` bytes */
        if (to <= 0) return to == 0 ? 416 : 200;
        uint64_t n = (uint64_t)to < n_bytes ? (uint64_t)to : n_bytes;
        *ret = (range){n_bytes - n, n};
        return n ? 206 : 416;
    }
    if (from < 0 || (rest.len && to < from)) return 200;
    if ((uint64_t)from >= n_bytes) return 416;
    uint64_t end = rest.len && (uint64_t)to < n_bytes ? (uint64_t)to + 1 : n_bytes;
    *ret = (range){(uint64_t)from, end - (uint64_t)from};
    return 206;
}

static const char *http_date(arena *a, time_t t) {
    struct tm tm;
    char text[40];
    gmtime_r(&t, &tm);
    strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    return str_cstr(a, str_from(text));
}

static int open_regular(const char *path, struct stat *st) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0 && (fstat(fd, st) || !S_ISREG(st->st_mode))) {
        close(fd);
        fd = -1;
    }
    return fd;
}

bool http_reply_file(http_request *r, const char *path, const char *content_type) {
    struct stat st;
    int fd = open_regular(path, &st);
    if (fd < 0) return false;
    const char *date = http_date(r->arena, st.st_mtime);
    range part = {0, (uint64_t)st.st_size};
    int status = parse_range(http_request_header(r, "Range"), part.len, &part);
    http_reply_header(r, "Last-Modified", date);
    http_reply_header(r, "Accept-Ranges", "bytes");
    if (str_eq(http_request_header(r, "If-Modified-Since"), str_from(date))) status = 304;
    if (status == 304 || status == 416) {
        str whole = str_fmt(r->arena, "bytes */%llu", (unsigned long long)st.st_size);
        if (status == 416) http_reply_header(r, "Content-Range", whole.ptr);
        close(fd);
        http_reply(r, status, NULL, (str){0});
        return true;
    }
    if (status == 206)
        http_reply_header(r, "Content-Range",
                          str_fmt(r->arena, "bytes %llu-%llu/%llu", (unsigned long long)part.from,
                                  (unsigned long long)(part.from + part.len - 1),
                                  (unsigned long long)st.st_size)
                              .ptr);
    struct MHD_Response *response =
        MHD_create_response_from_fd_at_offset64(part.len, fd, part.from);
    MHD_add_response_header(response, "Content-Type", content_type);
    http_queue(r, status, response);
    return true;
}
