/* http/multipart: forms in pieces of every length, and forms that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/limits.h"
#include "http/multipart.h"
#include <string.h>

static bool on_part(void *ctx, const multipart_head *h) {
    buf_putf(ctx, "<" STR_FMT "|" STR_FMT "%s|" STR_FMT ">", STR_ARG(h->name), STR_ARG(h->filename),
             h->has_file ? "!" : "", STR_ARG(h->content_type));
    return !str_eq(h->name, STR("refused"));
}
static bool on_data(void *ctx, const void *bytes, size_t n) {
    buf_put(ctx, bytes, n);
    return true;
}
static bool on_end(void *ctx) {
    buf_put_char(ctx, '/');
    return true;
}

/* What came out; NULL when refused. Feeds `step` bytes at a time. */
static const char *read_form(str body, size_t step, buf *out, bool *ret_complete) {
    static const multipart_events events = {on_part, on_data, on_end};
    multipart *m = multipart_create(STR("XX"), &events, out);
    bool ok = true;
    for (size_t i = 0; i < body.len && ok; i += step) {
        size_t n = body.len - i < step ? body.len - i : step;
        ok = multipart_put(m, body.ptr + i, n);
        if (!ok) assert_false(multipart_put(m, "x", 1));
    }
    *ret_complete = multipart_complete(m);
    multipart_destroy(&m);
    return ok ? buf_cstr(out) : NULL;
}

static void check(str body, const char *want, bool want_complete) {
    for (size_t step = 1; step <= body.len + 1; step++) {
        buf out = {0};
        bool complete;
        const char *got = read_form(body, step, &out, &complete);
        if (want)
            assert_string_equal(got, want);
        else
            assert_null(got);
        assert_int_equal(complete, want_complete);
        buf_finish(&out);
    }
}

#define FIELD "Content-Disposition: form-data; name=\"a\"\r\n\r\n"

static void test_forms(void **state) {
    (void)state;
    check(STR("--XX\r\n" FIELD "value\r\n--XX--\r\n"), "<a||>value/", true);
    check(STR("preamble\r\n--XX\r\n" FIELD "v\r\n--XX--epilogue"), "<a||>v/", true);
    check(STR("--XX\r\n" FIELD "\r\n--XX--"), "<a||>/", true);
    check(STR("--XX--"), "", true);
    check(
        STR("--XX\r\ncontent-disposition:form-data;name=\"image\"; filename=\"x \\\"y%22.png\"\r\n"
            "Content-Type: image/png\r\n\r\n\r\n--XY\r\n--X\r\n--XX \t\r\n" FIELD "2\r\n--XX--"),
        "<image|x \"y\".png!|image/png>\r\n--XY\r\n--X/<a||>2/", true);
    check(STR("--XX\r\nContent-Disposition: form-data; name=a; filename=\r\n\r\nv\r\n--XX--"),
          "<a|!|>v/", true);
    check(STR("--XX\r\nX-Other: 1\r\n\r\nv\r\n--XX--"), "<||>v/", true);
}

static void test_incomplete(void **state) {
    (void)state;
    static const char BODY[] = "--XX\r\n" FIELD "value\r\n--X";
    buf out = {0};
    bool complete;
    assert_non_null(read_form(STR(BODY), 1, &out, &complete));
    assert_false(complete);
    assert_null(strstr(buf_cstr(&out), "/"));
    buf_finish(&out);
}

static void test_malformed(void **state) {
    (void)state;
    check(STR("--XXrubbish\r\n" FIELD "v\r\n--XX--"), NULL, false);
    check(STR("--XX\r\nContent-Disposition: form-data; name=refused\r\n\r\nv\r\n--XX--"), NULL,
          false);
}

static void test_limits(void **state) {
    (void)state;
    buf body = {0}, out = {0};
    bool complete;
    buf_put_str(&body, STR("--XX\r\nX: "));
    for (size_t i = 0; i < LIMIT_FORM_HEAD_BYTES; i++) buf_put_char(&body, 'x');
    assert_null(read_form(buf_str(&body), 1000, &out, &complete));
    buf_clear(&body);
    for (size_t i = 0; i <= LIMIT_FORM_PARTS; i++)
        buf_put_str(&body, STR("--XX\r\n" FIELD "v\r\n"));
    assert_null(read_form(buf_str(&body), 1000, &out, &complete));
    buf_finish(&body);
    buf_finish(&out);
}

static void test_boundary(void **state) {
    (void)state;
    arena *a = arena_create(0);
    str b;
    assert_true(multipart_boundary(STR("multipart/form-data; boundary=abc"), a, &b));
    assert_true(str_eq(b, STR("abc")));
    assert_true(multipart_boundary(STR("Multipart/Form-Data; charset=x; boundary=\"a b\""), a, &b));
    assert_true(str_eq(b, STR("a b")));
    assert_false(multipart_boundary(STR("multipart/form-data"), a, &b));
    assert_false(multipart_boundary(STR("multipart/form-data; boundary="), a, &b));
    assert_false(multipart_boundary(STR("text/plain; boundary=abc"), a, &b));
    assert_false(multipart_boundary(STR(""), a, &b));
    str longer = str_fmt(a, "multipart/form-data; boundary=%071d", 1);
    assert_false(multipart_boundary(longer, a, &b));
    arena_destroy(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),     cmocka_unit_test(test_incomplete),
        cmocka_unit_test(test_malformed), cmocka_unit_test(test_limits),
        cmocka_unit_test(test_boundary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
