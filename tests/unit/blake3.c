/* store/blake3 against the reference implementation's hashes of i % 251 for i = 0 .. n - 1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/blake3.h"
#include <string.h>

/* Python: blake3.blake3(bytes(i % 251 for i in range(n))).hexdigest() */
static const struct {
    size_t n;
    const char *hex;
} VECTORS[] = {
    {0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"},
    {1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"},
    {63, "e9bc37a594daad83be9470df7f7b3798297c3d834ce80ba85d6e207627b7db7b"},
    {64, "4eed7141ea4a5cd4b788606bd23f46e212af9cacebacdc7d1f4c6dc7f2511b98"},
    {65, "de1e5fa0be70df6d2be8fffd0e99ceaa8eb6e8c93a63f2d8d1c30ecb6b263dee"},
    {1023, "10108970eeda3eb932baac1428c7a2163b0e924c9a9e25b35bba72b28f70bd11"},
    {1024, "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7"},
    {1025, "d00278ae47eb27b34faecf67b4fe263f82d5412916c1ffd97c8cb7fb814b8444"},
    {2048, "e776b6028c7cd22a4d0ba182a8bf62205d2ef576467e838ed6f2529b85fba24a"},
    {2049, "5f4d72f40d7a5f82b15ca2b2e44b1de3c2ef86c426c95c1af0b6879522563030"},
    {3072, "b98cb0ff3623be03326b373de6b9095218513e64f1ee2edd2525c7ad1e5cffd2"},
    {5121, "628bd2cb2004694adaab7bbd778a25df25c47b9d4155a55f8fbd79f2fe154cff"},
    {8193, "bab6c09cb8ce8cf459261398d2e7aef35700bf488116ceb94a36d0f5f1b7bc3b"},
    {31744, "62b6960e1a44bcc1eb1a611a8d6235b6b4b78f32e7abc4fb4c6cdcce94895c47"},
    {102400, "bc3e3d41a1146b069abffad3c0d44860cf664390afce4d9661f7902e7943e085"},
};

static void check(size_t n, size_t step, const char *hex) {
    static uint8_t bytes[102400];
    char text[BLAKE3_TEXT_BYTES];
    blake3 h;
    for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)(i % 251);
    blake3_init(&h);
    for (size_t i = 0; i < n; i += step) blake3_put(&h, bytes + i, n - i < step ? n - i : step);
    blake3_text(&h, text);
    assert_string_equal(text + 7, hex);
}

static void test_vectors(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(VECTORS); i++) {
        check(VECTORS[i].n, 102400, VECTORS[i].hex);
        check(VECTORS[i].n, 64, VECTORS[i].hex);
        check(VECTORS[i].n, 1000, VECTORS[i].hex);
    }
    check(2049, 1, VECTORS[9].hex);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
