/* How families write calls in words. */
#include "model/reply/reply_impl.h"

static const reply_call_form FUNCTION = {.mark = "<tool_call>\n",
                                         .open = "\n<function=",
                                         .named = ">\n",
                                         .key = "<parameter=",
                                         .keyed = ">\n",
                                         .valued = "\n</parameter>\n",
                                         .close = "</function>"};
static const reply_call_form SEED = {.mark = "<seed:tool_call>\n",
                                     .open = "\n<function=",
                                     .named = ">\n",
                                     .key = "<parameter=",
                                     .keyed = ">",
                                     .valued = "</parameter>\n",
                                     .close = "</function>"};
static const reply_call_form PAIRS = {.mark = "<tool_call>",
                                      .open = "",
                                      .named = "\n",
                                      .key = "<arg_key>",
                                      .keyed = "</arg_key>\n<arg_value>",
                                      .valued = "</arg_value>\n",
                                      .close = "</tool_call>"};

const reply_call_form *reply_form_of(const reply_format *f, str template_text) {
    if (f == &reply_qwen3) return str_find(template_text, STR("<arg_key>")) >= 0 ? &PAIRS : NULL;
    if (f != &reply_qwen3_coder) return NULL;
    return str_find(template_text, STR("<seed:tool_call>")) >= 0 ? &SEED : &FUNCTION;
}
