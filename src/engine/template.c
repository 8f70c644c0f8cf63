/* What a chat template is and can do, for checks before anything is loaded. */
#include "engine/template.h"
#include "model/chat.h"
#include "model/chat_go.h"
#include "model/renderers.h"
#include "model/reply/reply.h"

err_code engine_template_inspect(str text, engine_template_info *ret, err *e) {
    *ret = (engine_template_info){.is_go = chat_go_is(text)};
    err why = {0};
    if (ret->is_go) {
        chat_go_facts f;
        if (chat_go_inspect(text, &f, &why)) FAIL(e, INVALID, "template error: %s", why.msg);
        ret->has_tools = f.tools;
        ret->has_thinking = f.thinking;
        ret->has_insert = f.insert;
        return ERR_OK;
    }
    chat_template *t;
    TRY(chat_create(text, (str){0}, (str){0}, &t, e));
    ret->has_tools = chat_has_tools(t);
    ret->has_thinking = chat_has_thinking(t);
    err_code code = chat_check(t, &why);
    chat_destroy(&t);
    if (code) FAIL(e, INVALID, "template error: %s", why.msg);
    return ERR_OK;
}

const char *engine_renderer_template(str name) {
    return renderer_template(name);
}

/* Formats that read thinking also serve models that do not think: the name decides. */
static bool names_thinking(str name) {
    static const char *const NAMES[] = {"harmony",     "gpt-oss",     "qwen3",    "qwen3.5",
                                        "gemma4",      "cogito",      "deepseek", "deepseek3",
                                        "deepseek3.1", "deepseek-r1", "glm-4.5",  "glm-4.7"};
    for (size_t i = 0; i < COUNT_OF(NAMES); i++)
        if (str_eq_nocase(name, str_from(NAMES[i]))) return true;
    return str_ends(name, STR("thinking")) || str_ends(name, STR("-think"));
}

bool engine_parser_inspect(str name, engine_template_info *ret) {
    const char *format = reply_find(name);
    *ret = (engine_template_info){0};
    if (!format) return false;
    ret->has_tools = reply_can_call(format);
    ret->has_thinking = reply_can_think(format) && names_thinking(name);
    return true;
}
