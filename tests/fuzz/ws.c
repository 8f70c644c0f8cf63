/* Fuzz: what a client sends after a WebSocket handshake. */
#include "http/ws_session.h"

static void on_message(void *arg, bool binary, str bytes) {
    *(size_t *)arg += bytes.len;
    if (!binary && !str_is_utf8(bytes)) __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    size_t n_out = 0;
    buf out = {0};
    ws_session *s = ws_session_create(on_message, &n_out);
    if (ws_session_take(s, (str){(const char *)data, n / 2}))
        ws_session_take(s, (str){(const char *)data + n / 2, n - n / 2});
    ws_session_put(s, true, STR("x"));
    ws_session_output(s, &out);
    if (n_out > n) __builtin_trap();
    ws_session_destroy(&s);
    buf_finish(&out);
    return 0;
}
