/* The machine's ed25519 key in OpenSSH's file format, and signatures as registries expect them.
 *
 * Source: OpenSSH PROTOCOL.key ("openssh-key-v1"), unencrypted keys only; RFC 8709. */
#include "base/buf.h"
#include "base/rng.h"
#include "os/file.h"
#include "registry/registry_impl.h"
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD "-----BEGIN OPENSSH PRIVATE KEY-----"
#define TAIL "-----END OPENSSH PRIVATE KEY-----"
#define MAGIC "openssh-key-v1" /* with its NUL */
enum { LINE = 70, BLOCK = 8, KEY_FILE_MAX = 64 << 10 };

static str base64(arena *a, str bytes) {
    size_t room = sodium_base64_encoded_len(bytes.len, sodium_base64_VARIANT_ORIGINAL);
    char *out = arena_alloc(a, room);
    sodium_bin2base64(out, room, (const unsigned char *)bytes.ptr, bytes.len,
                      sodium_base64_VARIANT_ORIGINAL);
    return str_from(out);
}

static void put_u32(buf *b, uint32_t v) {
    for (int shift = 24; shift >= 0; shift -= 8) buf_put_char(b, (char)(v >> shift));
}

static void put_string(buf *b, const void *p, size_t n) {
    put_u32(b, (uint32_t)n);
    buf_put(b, p, n);
}

/* Cuts a length-prefixed string; false when the bytes end before it. */
static bool cut_string(str *s, str *ret) {
    const unsigned char *p = (const unsigned char *)s->ptr;
    if (s->len < 4) return false;
    size_t n = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    if (n > s->len - 4) return false;
    *ret = str_sub(*s, 4, 4 + n);
    *s = str_sub(*s, 4 + n, s->len);
    return true;
}

static void put_public(buf *b, const registry_key *k) {
    put_string(b, "ssh-ed25519", 11);
    put_string(b, k->secret + 32, 32);
}

str key_sign(const registry_key *k, arena *a, str bytes) {
    unsigned char signature[crypto_sign_BYTES];
    buf blob = {0};
    put_public(&blob, k);
    crypto_sign_detached(signature, NULL, (const unsigned char *)bytes.ptr, bytes.len, k->secret);
    str text = str_fmt(a, STR_FMT ":" STR_FMT, STR_ARG(base64(a, buf_str(&blob))),
                       STR_ARG(base64(a, (str){(const char *)signature, sizeof signature})));
    buf_finish(&blob);
    return text;
}

static bool parse(str s, registry_key *ret) {
    str cipher, kdf, options, pub, section, kind, pub2, secret;
    if (!str_starts(s, (str){MAGIC, sizeof MAGIC})) return false;
    s = str_sub(s, sizeof MAGIC, s.len);
    if (!cut_string(&s, &cipher) || !cut_string(&s, &kdf) || !cut_string(&s, &options) ||
        s.len < 4 || !str_eq(cipher, STR("none")))
        return false;
    s = str_sub(s, 4, s.len); /* the count of keys: 1 */
    if (!cut_string(&s, &pub) || !cut_string(&s, &section) || section.len < 8) return false;
    section = str_sub(section, 8, section.len); /* two check numbers */
    if (!cut_string(&section, &kind) || !str_eq(kind, STR("ssh-ed25519")) ||
        !cut_string(&section, &pub2) || !cut_string(&section, &secret) || secret.len != 64)
        return false;
    memcpy(ret->secret, secret.ptr, 64);
    return true;
}

err_code key_read(const char *path, registry_key *ret, err *e) {
    buf text = {0}, bytes = {0};
    TRY(file_read(path, KEY_FILE_MAX, &text, e));
    str s = buf_str(&text);
    ptrdiff_t from = str_find(s, STR(HEAD)), to = str_find(s, STR(TAIL));
    bool ok = from >= 0 && to > from;
    if (ok) {
        s = str_sub(s, (size_t)from + sizeof HEAD - 1, (size_t)to);
        size_t n = 0;
        buf_reserve(&bytes, s.len);
        ok = sodium_base642bin((unsigned char *)bytes.ptr, s.len, s.ptr, s.len, " \r\n\t", &n, NULL,
                               sodium_base64_VARIANT_ORIGINAL) == 0;
        ok = ok && parse((str){bytes.ptr, n}, ret);
        sodium_memzero(bytes.ptr, s.len);
    }
    sodium_memzero(text.ptr, text.len);
    buf_finish(&bytes);
    buf_finish(&text);
    if (!ok) FAIL(e, FORMAT, "%s is not an unencrypted ed25519 key of OpenSSH", path);
    return ERR_OK;
}

static void put_private(buf *out, const registry_key *k) {
    buf section = {0}, pub = {0};
    uint32_t check;
    rng_entropy(&check, sizeof check);
    put_public(&pub, k);
    put_u32(&section, check);
    put_u32(&section, check);
    put_public(&section, k);
    put_string(&section, k->secret, sizeof k->secret);
    put_string(&section, "hob", 3);
    for (char i = 1; section.len % BLOCK; i++) buf_put_char(&section, i);
    buf_put(out, MAGIC, sizeof MAGIC);
    put_string(out, "none", 4);
    put_string(out, "none", 4);
    put_string(out, "", 0);
    put_u32(out, 1);
    put_string(out, pub.ptr, pub.len);
    put_string(out, section.ptr, section.len);
    buf_finish(&section);
    buf_finish(&pub);
}

static err_code write_new(const char *path, str text, mode_t mode, err *e) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0) FAIL(e, IO, "create %s: %s", path, strerror(errno));
    bool ok = write(fd, text.ptr, text.len) == (ssize_t)text.len;
    if (close(fd) || !ok) FAIL(e, IO, "write %s failed", path);
    return ERR_OK;
}

err_code key_make(const char *path, registry_key *ret, err *e) {
    CLEANUP(arena_destroy) arena *a = arena_create(0);
    unsigned char seed[32], public[32];
    rng_entropy(seed, sizeof seed);
    crypto_sign_seed_keypair(public, ret->secret, seed);
    buf blob = {0}, text = {0}, pub = {0};
    put_private(&blob, ret);
    put_public(&pub, ret);
    str coded = base64(a, buf_str(&blob));
    buf_put_str(&text, STR(HEAD "\n"));
    for (size_t i = 0; i < coded.len; i += LINE)
        buf_putf(&text, STR_FMT "\n", STR_ARG(str_sub(coded, i, i + LINE)));
    buf_put_str(&text, STR(TAIL "\n"));
    str line = str_fmt(a, "ssh-ed25519 " STR_FMT "\n", STR_ARG(base64(a, buf_str(&pub))));
    str dir = str_sub(str_from(path), 0, (size_t)str_rfind_char(str_from(path), '/'));
    err_code code = dir.len ? file_mkdirs(str_cstr(a, dir), e) : ERR_OK;
    if (code == ERR_OK) code = write_new(path, buf_str(&text), 0600, e);
    if (code == ERR_OK) code = write_new(str_fmt(a, "%s.pub", path).ptr, line, 0644, e);
    buf_finish(&blob);
    buf_finish(&text);
    buf_finish(&pub);
    return code;
}
