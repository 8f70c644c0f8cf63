/* From a job's spec to token ids that fit the context. Runs on the worker thread.
 *
 * Messages go through the chat template (user text stays text), raw text is parsed as it is. What
 * is too long is cut as Ollama does: whole messages first, oldest first, system messages and the
 * last one kept; then tokens, keeping the first n_keep and the most recent ones so that half of the
 * rest of the window stays free for the answer. */
#include "base/limits.h"
#include "engine/job.h"
#include "engine/report.h"
#include <string.h>

enum { FORCED_TOKENS = 16 }; /* the mark before a required call */

static const char TOO_LONG[] = "the input length exceeds the context length";

static int32_t clamp_ctx(const engine_job *j) {
    int32_t n = j->spec.n_ctx > 0 ? j->spec.n_ctx : j->eng->conf.default_ctx;
    if (n < 4) n = 4;
    return n < j->m->facts.ctx_train ? n : j->m->facts.ctx_train;
}

/* Tokens that a client chose. */
static err_code take_ids(const engine_job *j, const int32_t *ids, size_t n, tok_ids *to, err *e) {
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || ids[i] >= j->m->facts.n_vocab)
            FAIL(e, INVALID, "%d is not a token of " STR_FMT ": they go from 0 to %d", ids[i],
                 STR_ARG(j->spec.model.name), j->m->facts.n_vocab - 1);
        VEC_PUSH(*to, ids[i]);
    }
    return ERR_OK;
}

/* One encoding of segments into j->ids, behind the request's `context`. */
static err_code encode(engine_job *j, engine_segments segs, err *e) {
    const engine_backend *b = &j->eng->b;
    const engine_prompt *p = &j->spec.prompt;
    VEC_CLEAR(j->ids);
    TRY(take_ids(j, p->context, p->n_context, &j->ids, e));
    uint64_t n_bytes = 0;
    for (size_t i = 0; i < segs.n; i++) n_bytes += segs.items[i].text.len;
    if (n_bytes > LIMIT_PROMPT_BYTES)
        FAIL(e, LIMIT, "a prompt of %llu bytes; at most %u are possible",
             (unsigned long long)n_bytes, LIMIT_PROMPT_BYTES);
    TRY(b->encode(j->m->backend_model, segs, p->n_context == 0, &j->ids, e));
    if (j->ids.len == 0) {
        int32_t first = b->first_id(j->m->backend_model);
        if (first < 0) FAIL(e, INVALID, "the prompt is empty");
        VEC_PUSH(j->ids, first);
    }
    return ERR_OK;
}

static bool is_system(const value *message) {
    const value *role = value_get(message, STR("role"));
    return role && role->kind == VALUE_STR && str_eq(role->as.text, STR("system"));
}

/* The messages without their first n_drop that may go. */
static const value *without_oldest(arena *a, const value *messages, size_t n_drop) {
    value *kept = value_list(a);
    for (size_t i = 0; i < messages->as.list.len; i++) {
        value *msg = messages->as.list.items[i];
        bool may_go = i + 1 < messages->as.list.len && !is_system(msg);
        if (may_go && n_drop > 0)
            n_drop--;
        else
            value_push(a, kept, msg);
    }
    return kept;
}

static size_t n_droppable(const value *messages) {
    size_t n = 0;
    for (size_t i = 0; i + 1 < messages->as.list.len; i++)
        if (!is_system(messages->as.list.items[i])) n++;
    return n;
}

static engine_segments with_tail(engine_job *j, engine_segments segs) {
    str tail = job_prompt_tail(j);
    if (tail.len == 0) return segs;
    tok_segment *items = ARENA_ARRAY(j->mem, tok_segment, segs.n + 1);
    memcpy(items, segs.items, segs.n * sizeof *items);
    items[segs.n] = (tok_segment){tail, true};
    return (engine_segments){items, segs.n + 1};
}

static err_code render_and_encode(engine_job *j, size_t n_drop, err *e) {
    engine_segments segs;
    const value *messages = without_oldest(j->mem, j->spec.prompt.messages, n_drop);
    TRY(j->eng->b.render(j->m->backend_model, &j->spec.prompt, messages, j->mem, &segs, e));
    buf all = {0};
    for (size_t i = 0; i < segs.n; i++) buf_put_str(&all, segs.items[i].text);
    job_open_reply(j, buf_str(&all));
    if (j->spec.render_only) j->rendered = str_dup(j->mem, buf_str(&all));
    buf_finish(&all);
    return encode(j, with_tail(j, segs), e);
}

static bool fits(const engine_job *j) {
    return j->ids.len < (size_t)j->n_ctx;
}

/* Finds the fewest messages to drop by halving: rendering a long conversation is not free. */
static err_code read_messages(engine_job *j, err *e) {
    TRY(render_and_encode(j, 0, e));
    size_t low = 1, high = n_droppable(j->spec.prompt.messages), last = 0;
    if (fits(j) || !j->spec.prompt.truncate || high == 0) return ERR_OK;
    while (low < high) {
        last = low + (high - low) / 2;
        TRY(render_and_encode(j, last, e));
        if (fits(j))
            high = last;
        else
            low = last + 1;
    }
    return last == low ? ERR_OK : render_and_encode(j, low, e);
}

static err_code read_raw(engine_job *j, err *e) {
    tok_segment text = {j->spec.prompt.text, true};
    if (j->spec.render_only) j->rendered = j->spec.prompt.text;
    return encode(j, (engine_segments){&text, 1}, e);
}

/* Keeps the first n_keep tokens and the latest ones. */
static void cut_middle(tok_ids *ids, size_t n_keep, size_t n_drop) {
    memmove(ids->items + n_keep, ids->items + n_keep + n_drop,
            (ids->len - n_keep - n_drop) * sizeof *ids->items);
    ids->len -= n_drop;
}

static size_t n_keep(const engine_job *j) {
    int32_t most = j->n_ctx / 2, n = j->spec.prompt.n_keep;
    return (size_t)(n < 0 ? most : n < most ? n : most);
}

void job_shift(engine_job *j) {
    size_t keep = n_keep(j);
    cut_middle(&j->ids, keep, (j->ids.len - keep) / 2);
}

static err_code prepare_generate(engine_job *j, err *e) {
    const engine_prompt *p = &j->spec.prompt;
    if (!j->m->facts.can_generate)
        FAIL(e, INVALID, "\"%.*s\" does not support generate", STR_ARG(j->spec.model.name));
    TRY(p->kind == ENGINE_PROMPT_MESSAGES ? read_messages(j, e) : read_raw(j, e));
    if (!fits(j)) {
        if (!p->truncate || !p->shift) FAIL(e, INVALID, "%s", TOO_LONG);
        size_t keep = n_keep(j), want = keep + ((size_t)j->n_ctx - keep) / 2;
        cut_middle(&j->ids, keep, j->ids.len - want);
    }
    const engine_backend *b = &j->eng->b;
    TRY(job_call_in_words(j, e));
    if (j->grammar) {
        TRY(job_join_calls(j, e));
        j->constraint = b->constrain(j->m->backend_model, &j->grammar);
        job_allow_calls(j);
    }
    if (j->call_grammar && j->reply)
        j->call_constraint = b->constrain(j->m->backend_model, &j->call_grammar);
    j->n_prompt = (int32_t)j->ids.len;
    int64_t most = j->spec.n_predict >= 0 ? j->spec.n_predict : (int64_t)10 * j->n_ctx;
    j->n_predict = most < INT32_MAX ? (int32_t)most : INT32_MAX;
    return ERR_OK;
}

/* Cuts a text for embedding; its closing special token stays. */
static err_code fit_input(const engine_job *j, tok_ids *ids, err *e) {
    size_t limit = (size_t)j->n_ctx;
    if (limit > LIMIT_STEP_TOKENS) limit = LIMIT_STEP_TOKENS;
    if (ids->len <= limit) return ERR_OK;
    if (!j->spec.embed_truncate) FAIL(e, INVALID, "%s", TOO_LONG);
    ids->items[limit - 1] = ids->items[ids->len - 1];
    ids->len = limit;
    return ERR_OK;
}

/* Ids must have the ends that the model puts around a text: those of another tokenizer, which some
 * clients send, do not, and would mean nothing. */
static err_code read_input_ids(const engine_job *j, size_t i, tok_ids *to, err *e) {
    const engine_tokens *in = &j->spec.input_ids[i];
    tok_segment none = {0};
    tok_ids ends = {0};
    TRY(take_ids(j, in->ids, in->n, to, e));
    TRY(j->eng->b.encode(j->m->backend_model, (engine_segments){&none, 1}, true, &ends, e));
    bool begins = ends.len && in->ids[0] == ends.items[0];
    bool closes = ends.len && in->ids[in->n - 1] == VEC_LAST(ends);
    bool fine = ends.len > 1 ? begins && closes : begins || closes || ends.len == 0;
    int32_t first = ends.len ? ends.items[0] : 0;
    VEC_FINISH(ends);
    if (fine) return ERR_OK;
    FAIL(e, INVALID,
         "input %zu: its tokens lack what " STR_FMT " puts around a text (%d); send text, or the "
         "model's own tokens with those (in LangChain: check_embedding_ctx_length=False)",
         i, STR_ARG(j->spec.model.name), first);
}

/* One text as the tokens that the model reads. */
static err_code read_input(const engine_job *j, size_t i, tok_ids *to, err *e) {
    if (j->spec.input_ids) return read_input_ids(j, i, to, e);
    tok_segment seg = {j->spec.inputs[i], false};
    if (seg.text.len > LIMIT_PROMPT_BYTES)
        FAIL(e, LIMIT, "input %zu has %zu bytes; at most %u are possible", i, seg.text.len,
             LIMIT_PROMPT_BYTES);
    return j->eng->b.encode(j->m->backend_model, (engine_segments){&seg, 1}, true, to, e);
}

static err_code prepare_embed(engine_job *j, err *e) {
    if (!j->m->facts.can_embed)
        FAIL(e, INVALID, "\"%.*s\" does not support embeddings; use an embedding model",
             STR_ARG(j->spec.model.name));
    j->inputs = ARENA_ARRAY(j->mem, tok_ids, j->spec.n_inputs + 1);
    for (size_t i = 0; i < j->spec.n_inputs; i++) {
        TRY(read_input(j, i, &j->inputs[i], e));
        TRY(fit_input(j, &j->inputs[i], e));
        j->n_prompt += (int32_t)j->inputs[i].len;
    }
    return ERR_OK;
}

err_code job_prepare(engine_job *j, err *e) {
    j->n_ctx = clamp_ctx(j);
    return j->spec.kind == ENGINE_JOB_EMBED ? prepare_embed(j, e) : prepare_generate(j, e);
}

uint64_t job_kv_bytes(const engine_job *j) {
    const engine_facts *f = &j->m->facts;
    if (f->page_bytes == 0) return 0;
    int64_t n = (int64_t)j->n_prompt + j->n_predict + (j->call_constraint ? FORCED_TOKENS : 0);
    if (n > j->n_ctx) n = j->n_ctx;
    int64_t pages = (n + f->page_tokens - 1) / f->page_tokens + 1; /* one for a copy on write */
    return (uint64_t)pages * f->page_bytes;
}
