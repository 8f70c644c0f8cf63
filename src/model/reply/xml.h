/* Calls with marks around every argument: what qwen3-coder and glm write. Only model/reply includes
 * this. Values are words: the tool's schema says whether they are meant as JSON. */
#pragma once
#include "model/reply/reply_impl.h"

/* The body as <function=name><parameter=key>value</parameter>...</function>, or as
 * name<arg_key>key</arg_key><arg_value>value</arg_value>...; gives up when it is neither. */
void reply_body_xml(reply *r);

/* Calls as invoke name="f" ... parameter name="k" ...>value</...: the marks' own prefixes do not
 * matter. False: there is none, and nothing was given out. */
bool reply_invokes(reply *r, str body);
