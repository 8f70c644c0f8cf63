/* Prepares messages for a chat template, renders it and mends what templates refuse.
 *
 * Place: between the engine (plain messages) and the tokenizer (segments). Everything made for one
 * rendering lives in the caller's arena. */
#include "model/chat.h"
#include "base/buf.h"
#include "base/limits.h"
#include "base/value_json.h"
#include "model/chat_go.h"
#include "model/chat_mend.h"
#include "model/jinja/jinja.h"
#include <string.h>
#include <time.h>

/* Put behind the last message of a continued chat; the text is cut where it comes out. */
#define CUT_MARK "\x02hob-continues-here\x03"

struct chat_template {
    arena *mem;
    str source, bos, eos;
    jinja *program; /* NULL: no template, or a broken one */
    err broken;     /* code != OK: why it does not compile */
    bool has_system;
};

static value *trusted_str(arena *a, str text) {
    value *v = value_str(a, text);
    v->trusted = true;
    return v;
}

/* ---- messages as templates expect them ---- */

/* Roles are data, but templates build control tokens from them; a word of this list does no harm.
 */
static value *safe_role(arena *a, const value *message) {
    static const char *const known[] = {"system", "user",     "assistant", "tool",    "developer",
                                        "model",  "function", "ipython",   "control", "context"};
    str role = chat_text_of(message, "role");
    value *v = value_str(a, role);
    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (str_eq(role, str_from(known[i]))) v->trusted = true;
    return v;
}

typedef struct call_ids {
    int64_t made, answered; /* tool calls seen, answers seen */
} call_ids;

/* Nine letters and digits: what the strictest templates ask for. */
static value *call_id(arena *a, int64_t number) {
    return value_str(a, str_fmt(a, "call%05lld", (long long)(number % 100000)));
}

static value *with_call_ids(arena *a, const value *calls, call_ids *ids) {
    value *list = value_list(a);
    for (size_t i = 0; i < calls->as.list.len; i++) {
        value *call = calls->as.list.items[i];
        int64_t number = ids->made++;
        if (call->kind == VALUE_MAP && !value_get(call, STR("id"))) {
            value *copy = value_map(a);
            value_add(a, copy, STR("id"), call_id(a, number));
            if (!value_get(call, STR("type")))
                value_add(a, copy, STR("type"), value_str(a, STR("function")));
            for (size_t k = 0; k < call->as.map.len; k++)
                value_add(a, copy, call->as.map.pairs[k].key, call->as.map.pairs[k].val);
            call = copy;
        }
        value_push(a, list, call);
    }
    return list;
}

static value *prepare_message(arena *a, const value *m, call_ids *ids) {
    value *out = value_map(a);
    value_add(a, out, STR("role"), safe_role(a, m));
    const value *content = value_get(m, STR("content"));
    if (!content || content->kind == VALUE_NULL)
        value_add(a, out, STR("content"), value_str(a, (str){0}));
    for (size_t i = 0; i < m->as.map.len; i++) {
        str key = m->as.map.pairs[i].key;
        value *val = m->as.map.pairs[i].val;
        if (str_eq(key, STR("role")) || !val || val->kind == VALUE_NULL) continue;
        if (str_eq(key, STR("tool_calls")) && val->kind == VALUE_LIST) {
            if (val->as.list.len == 0) continue;
            val = with_call_ids(a, val, ids);
        }
        value_add(a, out, key, val); /* keys differ already */
    }
    value *thinking = value_get(out, STR("thinking"));
    if (thinking && !value_get(out, STR("reasoning_content")))
        value_add(a, out, STR("reasoning_content"), thinking);
    value *tool_name = value_get(out, STR("tool_name"));
    if (tool_name && !value_get(out, STR("name"))) value_add(a, out, STR("name"), tool_name);
    if (chat_has_role(m, "tool") && !value_get(out, STR("tool_call_id")))
        value_add(a, out, STR("tool_call_id"), call_id(a, ids->answered));
    if (chat_has_role(m, "tool")) ids->answered++;
    return out;
}

static err_code prepare_messages(arena *a, const value *messages, value **ret, err *e) {
    value *out = value_list(a);
    call_ids ids = {0};
    if (!messages || messages->kind != VALUE_LIST) FAIL(e, INVALID, "messages must be a list");
    if (messages->as.list.len > LIMIT_MESSAGES)
        FAIL(e, LIMIT, "%zu messages, at most %d are allowed", messages->as.list.len,
             LIMIT_MESSAGES);
    for (size_t i = 0; i < messages->as.list.len; i++) {
        const value *m = messages->as.list.items[i];
        if (m->kind != VALUE_MAP) FAIL(e, INVALID, "message %zu is not an object", i + 1);
        value_push(a, out, prepare_message(a, m, &ids));
    }
    *ret = out;
    return ERR_OK;
}

/* ---- rendering ---- */

static void add_date(arena *a, value *vars, int64_t now_unix) {
    time_t now = (time_t)now_unix;
    struct tm tm = {0};
    char date[64];
    if (now_unix == 0 || !gmtime_r(&now, &tm)) return;
    size_t n = strftime(date, sizeof date, "%d %b %Y", &tm);
    value_add(a, vars, STR("date_string"), value_str(a, (str){date, n}));
}

/* One rendering: everything that stays the same while the messages are mended. */
typedef struct chat_job {
    const chat_template *t;
    const jinja *program;
    const chat_input *in;
    arena *a;
    const tok_segment *segs; /* the result */
    size_t n_segs;
} chat_job;

static value *json_text(arena *a, const value *v) {
    buf b = {0};
    value_json_write(&b, v, VALUE_JSON_SPACED);
    value *text = value_str(a, buf_str(&b));
    buf_finish(&b);
    return text;
}

static value *variables(const chat_job *c, value *messages, bool prompt) {
    arena *a = c->a;
    const chat_input *in = c->in;
    value *vars = value_map(a);
    value_add(a, vars, STR("messages"), messages);
    if (in->tools && in->tools->kind == VALUE_LIST && in->tools->as.list.len > 0) {
        value *tools = value_list(a);
        *tools = *in->tools;
        value_add(a, vars, STR("tools"), tools);
        value_add(a, vars, STR("xml_tools"), tools);               /* SmolLM 3 */
        value_add(a, vars, STR("functions"), json_text(a, tools)); /* FireFunction */
    }
    value_add(a, vars, STR("add_generation_prompt"), value_bool(a, prompt));
    value_add(a, vars, STR("bos_token"), trusted_str(a, c->t->bos));
    value_add(a, vars, STR("eos_token"), trusted_str(a, c->t->eos));
    if (in->think >= 0) {
        value_add(a, vars, STR("enable_thinking"), value_bool(a, in->think > 0));
        value_add(a, vars, STR("thinking"), value_bool(a, in->think > 0));
    }
    if (in->think_level.len > 0)
        value_add(a, vars, STR("reasoning_effort"), value_str(a, in->think_level));
    add_date(a, vars, in->now_unix);
    return vars;
}

static err_code render_once(chat_job *c, value *messages, bool prompt, err *e) {
    const jinja_input in = {variables(c, messages, prompt), c->in->now_unix};
    return jinja_render(c->program, &in, c->a, &c->segs, &c->n_segs, e);
}

/* As it is, and if the template refuses that, mended step by step. The first complaint is the one
 * to report. */
static err_code render_mended(chat_job *c, value *messages, bool prompt, err *e) {
    static value *(*const mends[])(arena *, const value *) = {chat_mend_arguments, chat_mend_calls,
                                                              chat_mend_roles};
    err_code code = render_once(c, messages, prompt, e), again = code;
    for (size_t i = 0; i < COUNT_OF(mends); i++) {
        if (again == ERR_OK) return ERR_OK;
        if (again != ERR_INVALID && again != ERR_FORMAT) return code;
        if (again == ERR_FORMAT && i > 0) return code; /* only arguments can be the wrong type */
        value *mended = mends[i](c->a, messages);
        if (!mended) continue;
        err later = {0};
        again = render_once(c, mended, prompt, &later);
        messages = mended;
    }
    return again == ERR_OK ? ERR_OK : code;
}

/* The last one counts: a user may have typed the mark. */
static ptrdiff_t find_last(str s, str needle) {
    ptrdiff_t last = -1;
    for (size_t from = 0;;) {
        ptrdiff_t hit = str_find(str_sub(s, from, s.len), needle);
        if (hit < 0) return last;
        last = (ptrdiff_t)from + hit;
        from = (size_t)last + needle.len;
    }
}

/* Ends the result where the mark came out; false when it did not. */
static bool cut_at_mark(chat_job *c) {
    for (size_t i = c->n_segs; i-- > 0;) {
        ptrdiff_t at = c->segs[i].trusted ? -1 : find_last(c->segs[i].text, STR(CUT_MARK));
        if (at < 0) continue;
        tok_segment *segs = arena_dup(c->a, c->segs, (i + 1) * sizeof *segs);
        segs[i].text.len = (size_t)at;
        c->segs = segs;
        c->n_segs = i + 1;
        return true;
    }
    return false;
}

static err_code render_continued(chat_job *c, value *messages, err *e) {
    size_t n = messages->as.list.len;
    value *last = n ? messages->as.list.items[n - 1] : NULL;
    if (!last || !chat_has_role(last, "assistant"))
        FAIL(e, INVALID, "only an assistant's message can be continued");
    str content = chat_text_of(last, "content");
    value *marked = chat_copy_map(c->a, last);
    value_set(c->a, marked, STR("content"), chat_concat(c->a, content, STR(CUT_MARK)));
    messages->as.list.items[n - 1] = marked;
    if (content.len > 0) {
        TRY(render_mended(c, messages, false, e));
        if (cut_at_mark(c)) return ERR_OK;
    }
    messages->as.list.len--; /* the template hides it: an open turn and the content behind it */
    TRY(render_mended(c, messages, true, e));
    tok_segment *segs = ARENA_ARRAY(c->a, tok_segment, c->n_segs + 1);
    if (c->n_segs > 0) memcpy(segs, c->segs, c->n_segs * sizeof *segs);
    if (content.len > 0) segs[c->n_segs++] = (tok_segment){str_dup(c->a, content), false};
    c->segs = segs;
    return ERR_OK;
}

/* Without a template: the contents, one per line. */
static void render_plain(chat_job *c, const value *messages) {
    size_t n = messages->as.list.len;
    tok_segment *segs = ARENA_ARRAY(c->a, tok_segment, 2 * n + 1);
    for (size_t i = 0; i < n; i++) {
        str text = chat_text_of(messages->as.list.items[i], "content");
        if (text.len == 0) continue;
        if (c->n_segs > 0) segs[c->n_segs++] = (tok_segment){STR("\n"), true};
        segs[c->n_segs++] = (tok_segment){str_dup(c->a, text), false};
    }
    c->segs = segs;
}

static err_code render_job(chat_job *c, err *e) {
    value *messages = NULL;
    TRY(prepare_messages(c->a, c->in->messages, &messages, e));
    if (!c->program) {
        render_plain(c, messages);
        return ERR_OK;
    }
    if (c->in->continue_last) return render_continued(c, messages, e);
    return render_mended(c, messages, c->in->add_generation_prompt, e);
}

err_code chat_render(const chat_template *t, const chat_input *in, arena *a,
                     const tok_segment **ret, size_t *ret_n, err *e) {
    chat_job c = {.t = t, .program = t->program, .in = in, .a = a};
    jinja *own = NULL;
    if (chat_go_is(in->override_template))
        return chat_go_render(in->override_template, in, a, ret, ret_n, e);
    if (in->override_template.len > 0) {
        TRY(jinja_compile(in->override_template, &own, e));
        c.program = own;
    } else if (t->broken.code != ERR_OK) {
        return err_set(e, t->broken.code, "%s", t->broken.msg);
    }
    err_code code = render_job(&c, e);
    jinja_destroy(&own);
    TRY(code);
    *ret = c.segs;
    *ret_n = c.n_segs;
    return ERR_OK;
}

/* ---- a model's template ---- */

/* Does a system message come out, without mending? Asked once, by trying. */
static bool probe_system(const chat_template *t) {
    if (!t->program) return t->broken.code == ERR_OK;
    arena *a = arena_create(0);
    static const char *const texts[2][2] = {{"system", "probe-of-system"}, {"user", "hello"}};
    value *messages = value_list(a);
    for (size_t i = 0; i < 2; i++) {
        value *m = value_map(a);
        value_add(a, m, STR("role"), trusted_str(a, str_from(texts[i][0])));
        value_add(a, m, STR("content"), value_str(a, str_from(texts[i][1])));
        value_push(a, messages, m);
    }
    const chat_input in = {.think = -1};
    chat_job c = {.t = t, .program = t->program, .in = &in, .a = a};
    bool found = false;
    if (render_once(&c, messages, true, NULL) == ERR_OK)
        for (size_t i = 0; i < c.n_segs && !found; i++)
            found = str_find(c.segs[i].text, str_from(texts[0][1])) >= 0;
    arena_destroy(&a);
    return found;
}

err_code chat_create(str source, str bos_text, str eos_text, chat_template **ret, err *e) {
    (void)e;
    chat_template *t = NEW(chat_template);
    t->mem = arena_create(0);
    t->source = str_dup(t->mem, source);
    t->bos = str_dup(t->mem, bos_text);
    t->eos = str_dup(t->mem, eos_text);
    if (source.len > 0 && jinja_compile(source, &t->program, &t->broken) != ERR_OK)
        t->program = NULL;
    t->has_system = probe_system(t);
    *ret = t;
    return ERR_OK;
}

void chat_destroy(chat_template **t) {
    if (!t || !*t) return;
    jinja_destroy(&(*t)->program);
    arena_destroy(&(*t)->mem);
    mem_free(*t);
    *t = NULL;
}

err_code chat_check(const chat_template *t, err *e) {
    return t->broken.code ? err_set(e, t->broken.code, "%s", t->broken.msg) : ERR_OK;
}

static bool mentions(const chat_template *t, str word) {
    return str_find(t->source, word) >= 0;
}

str chat_source(const chat_template *t) {
    return t->source;
}

bool chat_has_tools(const chat_template *t) {
    if (!t->program) return mentions(t, STR("tools"));
    return jinja_uses(t->program, STR("tools")) || jinja_uses(t->program, STR("xml_tools"));
}

bool chat_has_thinking(const chat_template *t) {
    return mentions(t, STR("enable_thinking")) || mentions(t, STR("reasoning_effort")) ||
           mentions(t, STR("reasoning_content")) || mentions(t, STR("<think>")) ||
           mentions(t, STR("</think>")) || (t->program && jinja_uses(t->program, STR("thinking")));
}

bool chat_has_system(const chat_template *t) {
    return t->has_system;
}

bool chat_is_fallback(const chat_template *t) {
    return t->source.len == 0;
}
