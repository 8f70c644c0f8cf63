/* Part records: `<blob>-partial-<N>`, one JSON object each, as Ollama writes them.
 *
 * A record is rewritten in place with one write of one length, so a killed process leaves the old
 * or the new one. It is written after the bytes it speaks of. */
#include "base/buf.h"
#include "base/clock.h"
#include "base/limits.h"
#include "os/file.h"
#include "registry/registry_impl.h"
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RECORD_BYTES = 128, PART_BYTES_MIN = 8 << 20, PARTS_WANTED = 16 };
static const uint64_t PART_BYTES_MAX = 1000000000;

static str record_path(arena *a, const char *partial, size_t i) {
    return str_fmt(a, "%s-%zu", partial, i);
}

static bool read_number(const json_t *o, const char *key, uint64_t *ret) {
    const json_t *v = json_object_get(o, key);
    json_int_t n = json_integer_value(v);
    *ret = (uint64_t)n;
    return json_is_integer(v) && n >= 0;
}

static bool read_record(const char *path, size_t i, transfer_part *p) {
    buf text = {0};
    json_t *o = NULL;
    uint64_t number;
    if (file_read(path, 4096, &text, NULL) == ERR_OK) o = json_loadb(text.ptr, text.len, 0, NULL);
    bool ok = read_number(o, "N", &number) && number == i && read_number(o, "Offset", &p->offset) &&
              read_number(o, "Size", &p->n_bytes) && read_number(o, "Completed", &p->done) &&
              p->done <= p->n_bytes;
    p->saved = p->done;
    json_decref(o);
    buf_finish(&text);
    return ok;
}

size_t parts_load(const char *partial, uint64_t n_bytes, transfer_part *ret) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    struct stat st;
    uint64_t next = 0;
    size_t n = 0;
    if (stat(partial, &st) || (uint64_t)st.st_size != n_bytes) return 0;
    for (; next < n_bytes && n < LIMIT_TRANSFER_PARTS; n++) {
        ret[n] = (transfer_part){0};
        if (!read_record(record_path(a, partial, n).ptr, n, &ret[n])) return 0;
        if (ret[n].offset != next || ret[n].n_bytes == 0 || ret[n].n_bytes > n_bytes - next)
            return 0;
        next += ret[n].n_bytes;
    }
    return next == n_bytes ? n : 0;
}

size_t parts_plan(uint64_t n_bytes, transfer_part *ret) {
    uint64_t each = (n_bytes + PARTS_WANTED - 1) / PARTS_WANTED;
    if (each < PART_BYTES_MIN) each = PART_BYTES_MIN;
    if (each > PART_BYTES_MAX) each = PART_BYTES_MAX;
    if (n_bytes / each >= LIMIT_TRANSFER_PARTS) each = n_bytes / (LIMIT_TRANSFER_PARTS - 1) + 1;
    size_t n = 0;
    for (uint64_t at = 0; at < n_bytes || n == 0; at += each) {
        uint64_t left = n_bytes - at;
        ret[n++] = (transfer_part){.offset = at, .n_bytes = left < each ? left : each};
    }
    return n;
}

void parts_save(const char *partial, size_t i, transfer_part *p) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    char text[RECORD_BYTES + 1];
    int len = snprintf(
        text, sizeof text, "{\"N\":%zu,\"Offset\":%llu,\"Size\":%llu,\"Completed\":%llu}", i,
        (unsigned long long)p->offset, (unsigned long long)p->n_bytes, (unsigned long long)p->done);
    memset(text + len, ' ', (size_t)(RECORD_BYTES - len));
    text[RECORD_BYTES - 1] = '\n';
    int fd = open(record_path(a, partial, i).ptr, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return;
    if (pwrite(fd, text, RECORD_BYTES, 0) == RECORD_BYTES && ftruncate(fd, RECORD_BYTES) == 0)
        p->saved = p->done;
    p->saved_ns = clock_mono_ns();
    close(fd);
}

void parts_remove(const char *partial, bool data) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    for (size_t i = 0; i < LIMIT_TRANSFER_PARTS; i++)
        if (unlink(record_path(a, partial, i).ptr) && i >= PARTS_WANTED) break;
    if (data) unlink(partial);
}
