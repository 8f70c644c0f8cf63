/* The machine of reply formats: finds marks, holds back what may become one, gives out the rest. */
#include "base/value_json.h"
#include "model/reply/reply_impl.h"
#include <string.h>

static bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static void say(reply *r, reply_kind kind, str text) {
    if (text.len == 0) return;
    r->put(r->arg, &(reply_event){.kind = kind, .text = text});
}

/* Text of the state at hand. White space is held: it counts only between other text. */
static void say_text(reply *r, reply_kind kind, str text) {
    size_t n = text.len, from = 0;
    while (from < n && is_space(text.ptr[from])) from++;
    buf_put_str(&r->space, str_sub(text, 0, from));
    text = str_sub(text, from, n);
    n = text.len;
    while (n > 0 && is_space(text.ptr[n - 1])) n--;
    if (n > 0) {
        bool counts = r->said || (kind == REPLY_CONTENT && !r->past_thinking);
        if (counts) say(r, kind, buf_str(&r->space));
        buf_clear(&r->space);
        say(r, kind, str_sub(text, 0, n));
        r->said = true;
    }
    buf_put_str(&r->space, str_sub(text, n, text.len));
}

static void enter(reply *r, const reply_state *s) {
    if (s->fresh && s != r->state) buf_clear(&r->raw);
    r->state = s;
    r->depth = 0;
    r->quote = 0;
    r->escaped = false;
    buf_clear(&r->body);
    if (s->use != REPLY_USE_BODY && s->use != REPLY_USE_JSON && s->use != REPLY_USE_SKIP)
        buf_clear(&r->raw);
}

static bool gathers(const reply_state *s) {
    return s->use == REPLY_USE_BODY || s->use == REPLY_USE_JSON || s->use == REPLY_USE_SKIP;
}

void reply_go(reply *r, const reply_state *s) {
    r->moved = true;
    enter(r, s);
}

str reply_body(const reply *r) {
    return buf_str(&r->body);
}

void reply_call(reply *r, str name, const value *arguments) {
    r->put(r->arg, &(reply_event){.kind = REPLY_CALL, .name = name, .arguments = arguments});
    buf_clear(&r->raw);
    buf_clear(&r->space);
}

/* raw comes out as content, unless it is nothing but white space; then `to`. */
static void leave_raw(reply *r, const reply_state *to) {
    buf raw = r->raw;
    r->raw = (buf){0};
    enter(r, to);
    if (str_trim(buf_str(&raw)).len) say_text(r, REPLY_CONTENT, buf_str(&raw));
    buf_finish(&raw);
}

void reply_forget(reply *r) {
    buf_clear(&r->raw);
}

void reply_give_up(reply *r) {
    leave_raw(r, &reply_content);
    r->moved = true;
}

/* ---- marks ---- */

static str mark_text(const reply *r, const reply_mark *m) {
    if (m->text && m->text[0]) return str_from(m->text);
    return m->text ? r->open : r->close;
}

static bool mark_counts(const reply *r, const reply_mark *m) {
    if (m->need == REPLY_TOOLS) return r->tools != NULL;
    return m->need == REPLY_ALWAYS || r->thinks;
}

static bool is_last(const reply_mark *m) {
    return !m->text && !m->next;
}

/* The mark that begins at `at`; *ret_open: a longer one may, once more text is there. */
static const reply_mark *mark_at(const reply *r, str at, bool *ret_open) {
    const reply_mark *found = NULL;
    size_t longest = 0, candidate = 0;
    for (size_t i = 0; i < REPLY_MARKS && !is_last(&r->state->marks[i]); i++) {
        const reply_mark *m = &r->state->marks[i];
        str text = mark_text(r, m);
        if (!mark_counts(r, m)) continue;
        if (str_starts(at, text) && text.len > longest) {
            found = m;
            longest = text.len;
        } else if (at.len < text.len && str_starts(text, at) && text.len > candidate) {
            candidate = text.len;
        }
    }
    *ret_open = candidate > longest && !r->ended;
    return found;
}

static void use_text(reply *r, str text) {
    switch (r->state->use) {
    case REPLY_USE_CONTENT:
        say_text(r, REPLY_CONTENT, text);
        break;
    case REPLY_USE_THINKING:
        say_text(r, REPLY_THINKING, text);
        break;
    case REPLY_USE_BODY:
    case REPLY_USE_JSON:
        buf_put_str(&r->body, text);
        buf_put_str(&r->raw, text);
        break;
    case REPLY_USE_SKIP:
        buf_put_str(&r->raw, text);
        break;
    }
}

static bool is_bracket(str mark) {
    return str_eq(mark, STR("{")) || str_eq(mark, STR("["));
}

static void use_mark(reply *r, const reply_mark *m) {
    str text = mark_text(r, m);
    r->moved = false;
    if (m->need == REPLY_TOOLS && !is_bracket(text)) r->marked = true;
    if (m->next && gathers(m->next) && !gathers(r->state))
        buf_put_str(&r->raw, buf_str(&r->space)); /* it counts when this turns out to be no call */
    if (m->need == REPLY_THINK || r->state->use == REPLY_USE_THINKING) {
        r->past_thinking = r->state->use == REPLY_USE_THINKING;
        r->said = false;
    }
    buf_clear(&r->space);
    buf_put_str(&r->raw, text);
    if (m->act) m->act(r);
    if (r->moved) return;
    enter(r, m->next);
    if (m->stays && r->raw.len >= text.len) r->raw.len -= text.len; /* it is read again */
}

/* ---- scanning ---- */

/* The value in JSON began: how many bytes of `s` belong to it; *ret_whole: it is complete. */
static size_t json_span(reply *r, str s, bool *ret_whole) {
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (r->escaped)
            r->escaped = false;
        else if (r->quote && c == '\\')
            r->escaped = true;
        else if (r->quote)
            r->quote = c == r->quote ? 0 : r->quote;
        else if (c == '"' || (c == '\'' && r->state->python))
            r->quote = c;
        else if (c == '{' || c == '[' || (c == '(' && r->state->python))
            r->depth++;
        else if ((c == '}' || c == ']' || (c == ')' && r->state->python)) && --r->depth <= 0) {
            *ret_whole = true;
            return i + 1;
        }
    }
    *ret_whole = false;
    return s.len;
}

static void finish_whole(reply *r) {
    const reply_state *s = r->state;
    r->moved = false;
    s->whole(r);
    if (!r->moved) enter(r, s->then ? s->then : &reply_content);
}

/* One step over what is held: how many bytes of it were used; 0 = more text is needed. */
static size_t step_json(reply *r, str s) {
    bool whole;
    size_t n = json_span(r, s, &whole);
    use_text(r, str_sub(s, 0, n));
    if (r->state->python && reply_python_hopeless(reply_body(r)))
        reply_give_up(r);
    else if (whole)
        finish_whole(r);
    return n;
}

static size_t step_marks(reply *r, str s) {
    const reply_state *state = r->state;
    for (size_t i = 0; i < s.len; i++) {
        bool open;
        const reply_mark *m = mark_at(r, str_sub(s, i, s.len), &open);
        if (open || m) use_text(r, str_sub(s, 0, i));
        if (open) return i;
        if (m) {
            size_t n = mark_text(r, m).len;
            use_mark(r, m);
            return m->stays ? i : i + n;
        }
        if (state->otherwise && !is_space(s.ptr[i])) {
            use_text(r, str_sub(s, 0, i));
            if (gathers(state) && !gathers(state->otherwise))
                leave_raw(r, state->otherwise);
            else
                enter(r, state->otherwise);
            return i;
        }
    }
    use_text(r, s);
    if (state->most && r->body.len > state->most) reply_give_up(r);
    return s.len;
}

static void run(reply *r) {
    for (size_t at = 0; at <= r->held.len;) {
        const reply_state *before = r->state;
        str s = str_sub(buf_str(&r->held), at, r->held.len);
        if (s.len == 0) {
            buf_clear(&r->held);
            return;
        }
        size_t n = before->use == REPLY_USE_JSON ? step_json(r, s) : step_marks(r, s);
        at += n;
        if (n == 0 && r->state == before) {
            buf_drop_front(&r->held, at);
            return;
        }
    }
}

void reply_put(reply *r, str text) {
    buf_put_str(&r->held, text);
    run(r);
}

void reply_end(reply *r) {
    r->ended = true;
    run(r);
    if (r->held.len) use_text(r, buf_str(&r->held));
    buf_clear(&r->held);
    for (int i = 0; i < 4 && gathers(r->state); i++) {
        if (r->state->whole && r->state->use == REPLY_USE_BODY)
            finish_whole(r);
        else
            reply_give_up(r);
    }
    if (r->state->use == REPLY_USE_CONTENT && (r->said || !r->past_thinking))
        say(r, REPLY_CONTENT, buf_str(&r->space));
    buf_clear(&r->space);
}

/* ---- life ---- */

static const char *const THINK_MARKS[][2] = {
    {"<think>", "</think>"},
    {"[THINK]", "[/THINK]"},
    {"<seed:think>", "</seed:think>"},
    {"<|START_THINKING|>", "<|END_THINKING|>"},
    {"<|channel>thought\n", "<channel|>"},
    {"\xe2\x97\x81think\xe2\x96\xb7", "\xe2\x97\x81/think\xe2\x96\xb7"},
    {"<|inner_prefix|>", "<|inner_suffix|>"},
    {"<reasoning>", "</reasoning>"},
    {"<thought>", "</thought>"},
};

static void find_think_marks(reply *r, str template_text) {
    size_t k = 0;
    for (size_t i = 0; i < COUNT_OF(THINK_MARKS); i++) {
        if (str_find(template_text, str_trim(str_from(THINK_MARKS[i][0]))) < 0) continue;
        k = i;
        break;
    }
    r->open = str_from(THINK_MARKS[k][0]);
    r->close = str_from(THINK_MARKS[k][1]);
}

static const reply_format *find_format(const char *name) {
    static const reply_format *const ALL[] = {
        &reply_plain,       &reply_think,         &reply_harmony, &reply_qwen3, &reply_gemma,
        &reply_deepseek,    &reply_mistral,       &reply_llama3,  &reply_json,  &reply_cohere,
        &reply_qwen3_coder, &reply_functiongemma, &reply_lfm2,    &reply_olmo3, &reply_kimi,
        &reply_minimax,     &reply_apertus};
    for (size_t i = 0; name && i < COUNT_OF(ALL); i++)
        if (strcmp(ALL[i]->name, name) == 0) return ALL[i];
    return NULL;
}

bool reply_can_think(const char *format) {
    const reply_format *f = find_format(format);
    return f && f->thinks;
}

bool reply_can_call(const char *format) {
    const reply_format *f = find_format(format);
    return f && f->calls;
}

static const reply_state THINKING = {.use = REPLY_USE_THINKING};

/* The state behind the opening mark of `f`. */
static const reply_state *thinking_of(const reply_format *f) {
    for (size_t i = 0; i < REPLY_MARKS && !is_last(&f->start->marks[i]); i++)
        if (f->start->marks[i].need == REPLY_THINK) return f->start->marks[i].next;
    return &THINKING;
}

static str call_mark(const reply *r) {
    return str_from(r->form ? r->form->mark : r->f->call_mark);
}

reply *reply_create(const reply_spec *spec) {
    reply *r = NEW(reply);
    r->f = find_format(spec->format);
    if (!r->f) r->f = &reply_plain;
    r->mem = arena_create(0);
    r->tools = spec->tools ? value_copy(r->mem, spec->tools) : NULL;
    r->thinks = spec->thinks;
    r->put = spec->put;
    r->arg = spec->arg;
    r->form = reply_form_of(r->f, spec->template_text);
    find_think_marks(r, spec->template_text);
    enter(r, r->f->start);
    str open = str_trim(r->open), tail = str_trim(spec->prompt);
    r->was_open = r->f->thinks && !r->f->opens_itself && r->thinks && str_ends(tail, open);
    bool was_closed = str_ends(tail, r->close);
    if (r->was_open) enter(r, thinking_of(r->f));
    if (was_closed) enter(r, r->f->past);
    r->past_thinking = was_closed;
    str call = str_trim(call_mark(r));
    if (r->tools && call.len && str_ends(tail, call)) { /* the template has begun a call */
        bool open_mark;
        const reply_mark *m = mark_at(r, call, &open_mark);
        if (m) use_mark(r, m);
    }
    return r;
}

void reply_destroy(reply **rp) {
    reply *r = rp ? *rp : NULL;
    if (!r) return;
    buf_finish(&r->held);
    buf_finish(&r->space);
    buf_finish(&r->body);
    buf_finish(&r->raw);
    buf_finish(&r->name);
    arena_destroy(&r->mem);
    mem_free(r);
    *rp = NULL;
}

/* ---- questions ---- */

static bool state_knows(const reply *r, const reply_state *s, str text, int depth) {
    for (size_t i = 0; s && i < REPLY_MARKS && !is_last(&s->marks[i]); i++) {
        const reply_mark *m = &s->marks[i];
        str mark = mark_text(r, m);
        if (mark_counts(r, m) && str_find(mark, text) >= 0) return true;
        if (m->next != s && depth < 4 && state_knows(r, m->next, text, depth + 1)) return true;
    }
    if (!s || depth >= 4) return false;
    return (s->otherwise && state_knows(r, s->otherwise, text, depth + 1)) ||
           (s->then && state_knows(r, s->then, text, depth + 1));
}

bool reply_knows_mark(const reply *r, str text) {
    return text.len > 0 &&
           (state_knows(r, r->state, text, 0) || state_knows(r, r->f->start, text, 0));
}

bool reply_is_ready(const reply *r) {
    if (r->held.len) return false;
    return r->f->opens_itself ? r->state->use == REPLY_USE_CONTENT
                              : r->state->use != REPLY_USE_THINKING;
}

bool reply_awaits_call(const reply *r) {
    return r->state->awaits_call && r->held.len == 0;
}

bool reply_is_calling(const reply *r) {
    return r->marked;
}

const reply_call_form *reply_form(const reply *r) {
    return r->form;
}

str reply_call_mark(const reply *r, size_t i, bool *ret_form) {
    const reply_state *s = r->f->past;
    *ret_form = false;
    for (size_t k = 0; r->tools && k < REPLY_MARKS && !is_last(&s->marks[k]); k++) {
        const reply_mark *m = &s->marks[k];
        if (m->need != REPLY_TOOLS || i-- > 0) continue;
        *ret_form = m->next && m->next->awaits_call;
        return mark_text(r, m);
    }
    return (str){0};
}

str reply_think_mark(const reply *r) {
    bool wanted = r->f->thinks && r->thinks && !r->f->opens_itself && !r->was_open &&
                  !r->past_thinking && r->state == r->f->start;
    return wanted ? r->open : (str){0};
}

str reply_expect_call(reply *r) {
    buf_clear(&r->held);
    buf_clear(&r->space);
    enter(r, r->form ? r->f->behind_mark : &reply_forced);
    return call_mark(r);
}

bool reply_has_tool(const reply *r, str name) {
    for (size_t i = 0; r->tools && i < r->tools->as.list.len; i++) {
        const value *fn = value_get(r->tools->as.list.items[i], STR("function"));
        const value *known = value_get(fn ? fn : r->tools->as.list.items[i], STR("name"));
        if (known && known->kind == VALUE_STR && str_eq(known->as.text, name)) return true;
    }
    return false;
}

const value *reply_parameter(const reply *r, str tool, str name) {
    for (size_t i = 0; r->tools && i < r->tools->as.list.len; i++) {
        const value *fn = value_get(r->tools->as.list.items[i], STR("function"));
        const value *known = value_get(fn, STR("name"));
        if (!known || known->kind != VALUE_STR || !str_eq(known->as.text, tool)) continue;
        return value_get(value_get(value_get(fn, STR("parameters")), STR("properties")), name);
    }
    return NULL;
}
