/* What a chat template is and can do, for checks before anything is loaded. */
#include "engine/engine.h"
#include "model/chat.h"
#include "model/chat_go.h"

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
