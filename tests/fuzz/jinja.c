/* Any bytes as a template: compiling and rendering must end, within the limits, without a fault;
 * text of the messages must never come out trusted. */
#include "conversation.h"
#include "model/chat.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 4096) return 0;
    arena *a = arena_create(0);
    chat_template *t = NULL;
    err e = {0};
    chat_create((str){(const char *)data, size}, STR("<s>"), STR("</s>"), &t, &e);
    value *list = messages(a);
    const chat_input in = {.messages = list,
                           .tools = list,
                           .add_generation_prompt = true,
                           .think = (int)(size % 3) - 1,
                           .now_unix = 1700000000};
    const tok_segment *segs = NULL;
    size_t n = 0;
    bool own = false; /* the template may write \x01 itself */
    for (size_t i = 0; i < size; i++) own = own || data[i] == 1 || data[i] == '\\';
    if (chat_render(t, &in, a, &segs, &n, &e) == ERR_OK)
        for (size_t i = 0; i < n; i++)
            if (segs[i].trusted && !own && str_find_char(segs[i].text, '\x01') >= 0) abort();
    chat_destroy(&t);
    arena_destroy(&a);
    return 0;
}
