/* From sampled tokens to what a reader gets: text without stop strings, thinking apart from
 * content, whole tool calls; and the moments when a grammar begins and ends to hold.
 *
 * llm/text makes text of tokens, model/reply reads it, and what comes out becomes events. A grammar
 * holds from the first token, or from the end of the thinking on; a required call is held to its
 * form (JSON, or marks around each argument) behind the format's mark, and a call that the model
 * begins by itself from its mark to its end.
 * Threads: job_open_reply on the worker, the rest on whoever samples, one at a time. */
#include "base/rng.h"
#include "engine/job.h"

enum { BLANKS_AFTER_THINKING = 2 };

/* ---- beginning ---- */

static bool can_reply(const engine_prompt *p) {
    return p->kind == ENGINE_PROMPT_MESSAGES && p->suffix.len == 0 && !p->continue_last;
}

static bool speaks_of_thinking(str template_text, const char *format) {
    return str_find(template_text, STR("think")) >= 0 ||
           str_find(template_text, STR("Think")) >= 0 ||
           str_find(template_text, STR("THINK")) >= 0 ||
           str_find(template_text, STR("reasoning")) >= 0 ||
           str_eq(str_from(format), STR("harmony"));
}

static void on_reply(void *arg, const reply_event *ev);

void job_open_reply(engine_job *j, str rendered) {
    const engine_prompt *p = &j->spec.prompt;
    if (!can_reply(p)) return;
    str source =
        p->template_text.len ? p->template_text : j->eng->b.chat_source(j->m->backend_model);
    const char *named = p->parser.len ? reply_find(p->parser) : NULL;
    const char *format = named ? named : reply_pick(source);
    bool wants_tools = p->tools && p->tools->kind == VALUE_LIST && p->tools->as.list.len > 0 &&
                       p->tool_choice != ENGINE_TOOLS_NONE;
    bool thinks = reply_can_think(format) && (named || speaks_of_thinking(source, format));
    bool needed = wants_tools || thinks || str_eq(str_from(format), STR("harmony"));
    if (!needed) return;
    if (wants_tools && !reply_can_call(format)) format = "json";
    j->calling = false;
    reply_destroy(&j->reply);
    j->reply = reply_create(&(reply_spec){.format = format,
                                          .template_text = source,
                                          .prompt = rendered,
                                          .tools = wants_tools ? p->tools : NULL,
                                          .thinks = thinks,
                                          .put = on_reply,
                                          .arg = j});
}

static bool forces_call(const engine_job *j) {
    return j->spec.prompt.tool_choice == ENGINE_TOOLS_REQUIRED &&
           (j->call_grammar || j->call_constraint);
}

str job_prompt_tail(engine_job *j) {
    bool held = j->grammar || forces_call(j);
    if (!j->reply || !held) return (str){0};
    const engine_prompt *p = &j->spec.prompt;
    if (p->think == ENGINE_THINK_ON && !(forces_call(j) && p->think_by_default)) {
        str mark = reply_think_mark(j->reply);
        if (mark.len) {
            reply_put(j->reply, mark);
            return mark;
        }
    }
    if (!forces_call(j) || !reply_is_ready(j->reply)) return (str){0};
    j->calling = true;
    return reply_expect_call(j->reply);
}

/* ---- grammars ---- */

static void hold_to(engine_job *j, llm_constraint *c, int32_t n_blank) {
    llm_constraint_allow_blank(c, n_blank);
    llm_sampler_constrain(j->sampler, c);
    j->holding = c;
}

static void let_go(engine_job *j) {
    llm_sampler_constrain(j->sampler, NULL);
    j->holding = NULL;
}

/* The mark of a call becomes part of what the model has read. */
static void push_forced(engine_job *j, str mark) {
    tok_segment seg = {mark, true};
    size_t from = j->ids.len;
    if (mark.len == 0 ||
        j->eng->b.encode(j->m->backend_model, (engine_segments){&seg, 1}, false, &j->ids, NULL))
        return;
    for (size_t i = from; i < j->ids.len; i++) VEC_PUSH(j->history, j->ids.items[i]);
}

/* The model calls a tool instead of answering in the form that was asked for. */
static bool left_format(const engine_job *j) {
    return j->constraint && j->reply && reply_is_calling(j->reply);
}

void job_hold(engine_job *j) {
    bool left = left_format(j);
    if (left && j->holding == j->constraint) let_go(j);
    if (j->holding) return;
    bool ready = !left && (!j->reply || reply_is_ready(j->reply));
    if (j->constraint && ready) {
        bool thought = j->reply && j->n_eval > 0;
        hold_to(j, j->constraint, thought ? BLANKS_AFTER_THINKING : 0);
    } else if (j->call_constraint && j->calling) {
        hold_to(j, j->call_constraint, 0);
    } else if (j->call_constraint && forces_call(j) && ready) {
        j->calling = true;
        push_forced(j, reply_expect_call(j->reply));
        hold_to(j, j->call_constraint, 0);
    } else if (j->call_constraint && j->reply && reply_awaits_call(j->reply)) {
        llm_constraint_reset(j->call_constraint);
        hold_to(j, j->call_constraint, BLANKS_AFTER_THINKING);
    }
}

/* The held text is whole: true when that ends the answer, else the model goes on freely. */
static bool release(engine_job *j) {
    if (j->holding == j->constraint || j->calling) return true;
    let_go(j);
    return false;
}

/* ---- events ---- */

/* The log-probabilities of tokens whose text is out go with the first text that follows. */
static size_t lend_logprobs(engine_job *j) {
    size_t n = j->n_logprobs_due < j->logprobs.len ? j->n_logprobs_due : j->logprobs.len;
    j->n_logprobs_due = 0;
    return n;
}

static void drop_logprobs(engine_job *j, size_t n) {
    for (size_t i = 0; i < n; i++) VEC_REMOVE_AT(j->logprobs, 0);
    if (j->logprobs.len == 0 && j->logprob_mem) arena_reset(j->logprob_mem);
}

static void put_text(engine_job *j, engine_channel channel, str text) {
    size_t n = lend_logprobs(j);
    stream_put_text(j->stream, channel, text, j->logprobs.items, n);
    drop_logprobs(j, n);
}

static void put_call(engine_job *j, const reply_event *ev) {
    static const char ALPHABET[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    char id[13] = "call_";
    uint8_t random[8];
    if (j->spec.prompt.single_tool_call && j->n_calls > 0) return;
    rng_entropy(random, sizeof random);
    for (size_t i = 0; i < sizeof random; i++) id[5 + i] = ALPHABET[random[i] % 36];
    stream_put_tool_call(j->stream, &(engine_tool_call){.index = j->n_calls++,
                                                        .id = {id, 13},
                                                        .name = ev->name,
                                                        .arguments = ev->arguments});
}

static void on_reply(void *arg, const reply_event *ev) {
    engine_job *j = arg;
    switch (ev->kind) {
    case REPLY_CONTENT:
        if (left_format(j) && j->n_calls > 0)
            j->called = true; /* words behind calls are no answer in the form */
        else
            put_text(j, ENGINE_CHANNEL_CONTENT, ev->text);
        break;
    case REPLY_THINKING:
        put_text(j, ENGINE_CHANNEL_THINKING, ev->text);
        break;
    case REPLY_CALL:
        put_call(j, ev);
        break;
    }
}

/* Gives out text that may be shown, with the log-probabilities of its tokens. */
static void say_text(engine_job *j, bool last) {
    buf out = {0};
    j->n_logprobs_due += llm_text_take(j->text, last, &out);
    if (!j->reply) {
        put_text(j, ENGINE_CHANNEL_CONTENT, buf_str(&out));
    } else {
        reply_put(j->reply, buf_str(&out));
        if (last) reply_end(j->reply);
        if (j->n_logprobs_due) put_text(j, ENGINE_CHANNEL_CONTENT, (str){0}); /* held back */
    }
    buf_finish(&out);
}

/* What a token adds to the text: control tokens only when the format knows them. */
static str piece_of(const engine_job *j, int32_t id) {
    const engine_backend *b = &j->eng->b;
    str piece = b->piece(j->m->backend_model, id);
    if (piece.len || !j->reply) return piece;
    str mark = b->mark(j->m->backend_model, id);
    return reply_knows_mark(j->reply, mark) ? mark : (str){0};
}

/* A token that ends the answer is no text, but it may be the mark that ends a call. */
static void put_stop(engine_job *j, int32_t id) {
    const engine_backend *b = &j->eng->b;
    str mark = b->mark(j->m->backend_model, id);
    if (mark.len == 0) mark = b->piece(j->m->backend_model, id);
    if (j->reply && reply_knows_mark(j->reply, mark)) llm_text_put(j->text, mark);
}

static bool end_with(engine_job *j, bool stopped) {
    say_text(j, true);
    job_say_done(j, stopped ? ENGINE_DONE_STOP : ENGINE_DONE_LENGTH);
    return true;
}

bool job_take_token(engine_job *j, int32_t id) {
    stream_set_tokens(j->stream, ++j->n_eval);
    if (j->eng->b.is_stop(j->m->backend_model, id)) {
        VEC_CLEAR(j->logprobs);
        put_stop(j, id);
        return end_with(j, true);
    }
    VEC_PUSH(j->history, id);
    err e;
    if (j->holding && llm_constraint_accept(j->holding, id, &e)) {
        stream_put_error(j->stream, &e);
        return true;
    }
    bool whole = j->holding && llm_constraint_is_over(j->holding) && release(j);
    bool stopped = llm_text_put(j->text, piece_of(j, id)) || whole;
    bool full = (int32_t)j->ids.len >= j->n_ctx && !j->spec.prompt.shift;
    if (stopped || full || j->n_eval >= j->n_predict) return end_with(j, stopped);
    say_text(j, false);
    if (j->called || (j->spec.prompt.single_tool_call && j->n_calls > 0)) return end_with(j, true);
    VEC_PUSH(j->ids, id);
    llm_sampler_accept(j->sampler, id);
    job_hold(j);
    return false;
}
