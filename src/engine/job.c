/* A job's life: copied on submit, begun when its memory is granted, ended with one last event. */
#include "engine/job.h"
#include "base/limits.h"
#include "engine/report.h"

static str dup(arena *a, str s) {
    return s.len ? str_dup(a, s) : (str){0};
}

static const str *dup_strings(arena *a, const str *from, size_t n) {
    str *to = ARENA_ARRAY(a, str, n ? n : 1);
    for (size_t i = 0; i < n; i++) to[i] = dup(a, from[i]);
    return to;
}

static const engine_tokens *dup_ids(arena *a, const engine_tokens *from, size_t n) {
    engine_tokens *to = from ? ARENA_ARRAY(a, engine_tokens, n ? n : 1) : NULL;
    for (size_t i = 0; from && i < n; i++)
        to[i] = (engine_tokens){.ids = arena_dup(a, from[i].ids, from[i].n * sizeof *from[i].ids),
                                .n = from[i].n};
    return to;
}

static engine_prompt copy_prompt(arena *a, const engine_prompt *p) {
    engine_prompt to = *p;
    to.text = dup(a, p->text);
    to.messages = p->messages ? value_copy(a, p->messages) : NULL;
    to.tools = p->tools ? value_copy(a, p->tools) : NULL;
    to.template_text = dup(a, p->template_text);
    to.suffix = dup(a, p->suffix);
    to.tool_name = dup(a, p->tool_name);
    to.parser = dup(a, p->parser);
    to.think_level = dup(a, p->think_level);
    to.context = p->n_context ? arena_dup(a, p->context, p->n_context * sizeof(int32_t)) : NULL;
    return to;
}

engine_model job_copy_model(arena *a, const engine_model *m) {
    return (engine_model){dup(a, m->path), dup(a, m->adapter), dup(a, m->name), dup(a, m->digest)};
}

str job_model_key(arena *a, const engine_model *m) {
    if (m->adapter.len == 0) return m->path;
    return str_fmt(a, STR_FMT "\n" STR_FMT, STR_ARG(m->path), STR_ARG(m->adapter));
}

bool engine_model_same(const engine_model *a, const engine_model *b) {
    return str_eq(a->path, b->path) && str_eq(a->adapter, b->adapter);
}

engine_job *job_create(engine *eng, const engine_job_spec *spec, int64_t now) {
    engine_job *j = NEW(engine_job);
    arena *a = j->mem = arena_create(0);
    j->eng = eng;
    j->submitted_ns = now;
    j->spec = *spec;
    j->spec.model = job_copy_model(a, &spec->model);
    j->spec.user = dup(a, spec->user);
    j->spec.prompt = copy_prompt(a, &spec->prompt);
    j->spec.stop = dup_strings(a, spec->stop, spec->n_stop);
    j->spec.sample.bias =
        spec->sample.n_bias
            ? arena_dup(a, spec->sample.bias, spec->sample.n_bias * sizeof *spec->sample.bias)
            : NULL;
    j->spec.format = (engine_format){.kind = spec->format.kind}; /* compiled by then */
    j->spec.inputs = spec->input_ids ? NULL : dup_strings(a, spec->inputs, spec->n_inputs);
    j->spec.input_ids = dup_ids(a, spec->input_ids, spec->n_inputs);
    return j;
}

void job_begin(engine_job *j, int64_t now) {
    const engine_backend *b = &j->eng->b;
    j->state = JOB_RUNNING;
    j->started_ns = now;
    if (j->spec.kind != ENGINE_JOB_GENERATE) return;
    if (j->m->has_kv)
        j->seq = b->seq_create(j->m->backend_model, j->ids.items, (int32_t)j->ids.len, &j->n_fed);
    j->n_cached = j->n_fed;
    j->sampler = llm_sampler_create(&j->spec.sample, j->m->facts.n_vocab);
    job_hold(j);
    for (size_t i = 0; i < j->ids.len; i++) {
        llm_sampler_accept(j->sampler, j->ids.items[i]);
        VEC_PUSH(j->history, j->ids.items[i]);
    }
    j->text = llm_text_create(j->spec.stop, j->spec.n_stop);
    if (j->spec.logprobs) j->logprob_mem = arena_create(0);
}

static void keep_logprob(engine_job *j, const llm_sampled *got) {
    const engine_backend *b = &j->eng->b;
    int32_t n_top = j->spec.top_logprobs;
    engine_logprob *items = ARENA_ARRAY(j->logprob_mem, engine_logprob, (size_t)n_top + 1);
    for (int32_t i = 0; i < n_top; i++)
        items[i] = (engine_logprob){.token = b->piece(j->m->backend_model, got->top[i].id),
                                    .logprob = got->top[i].logprob};
    VEC_PUSH(j->logprobs, (engine_logprob){.token = b->piece(j->m->backend_model, got->id),
                                           .logprob = got->logprob,
                                           .top = items,
                                           .n_top = (size_t)n_top});
}

bool job_take_row(engine_job *j, float *logits) {
    llm_sampled got;
    err e;
    if (!j->past_prompt) {
        j->past_prompt = true;
        j->first_ns = clock_mono_ns();
    }
    if (j->n_predict == 0) {
        job_say_done(j, ENGINE_DONE_LENGTH);
        return true;
    }
    if (llm_sampler_draw(j->sampler, logits, j->spec.logprobs ? j->spec.top_logprobs : -1, &got,
                         &e)) {
        stream_put_error(j->stream, &e);
        return true;
    }
    if (j->spec.logprobs) keep_logprob(j, &got);
    if (job_take_token(j, got.id)) return true;
    if (stream_bytes(j->stream) <= LIMIT_STREAM_BYTES) return false;
    err_set(&e, ERR_LIMIT, "nobody reads the answer: %u bytes wait", LIMIT_STREAM_BYTES);
    stream_put_error(j->stream, &e);
    return true;
}

void job_say_done(engine_job *j, engine_done_reason reason) {
    int64_t now = clock_mono_ns();
    int64_t started = j->started_ns ? j->started_ns : now;
    int64_t first = j->first_ns ? j->first_ns : now;
    engine_event ev = {
        .reason = reason,
        .text = j->rendered,
        .stop_string = j->text ? llm_text_stop(j->text) : (str){0},
        .load_ns = started - j->submitted_ns,
        .prompt_ns = first - started,
        .eval_ns = now - first,
        .total_ns = now - j->submitted_ns,
        .n_prompt_tokens = j->n_prompt,
        .n_cached_tokens = j->n_cached,
        .n_eval_tokens = j->n_eval,
        .context = j->history.items,
        .n_context = j->history.len,
    };
    stream_put_done(j->stream, &ev);
}

void job_end(engine_job *j) {
    engine *eng = j->eng;
    if (j->seq) eng->b.seq_destroy(j->seq);
    if (j->sj) sched_finish(&j->sj, clock_mono_ns());
    stream_release(&j->stream);
    for (size_t i = 0; i < eng->jobs.len; i++) {
        if (eng->jobs.items[i] != j) continue;
        VEC_REMOVE_AT(eng->jobs, i);
        break;
    }
    llm_sampler_destroy(&j->sampler);
    llm_constraint_destroy(&j->constraint);
    llm_constraint_destroy(&j->call_constraint);
    grammar_destroy(&j->grammar);
    grammar_destroy(&j->call_grammar);
    reply_destroy(&j->reply);
    llm_text_destroy(&j->text);
    VEC_FINISH(j->ids);
    VEC_FINISH(j->history);
    VEC_FINISH(j->logprobs);
    arena_destroy(&j->logprob_mem);
    for (size_t i = 0; j->inputs && i < j->spec.n_inputs; i++) VEC_FINISH(j->inputs[i]);
    arena_destroy(&j->mem);
    mem_free(j);
}

void job_finish_error(engine_job *j, const err *why) {
    stream_put_error(j->stream, why);
    job_end(j);
}

void job_finish_done(engine_job *j, engine_done_reason reason) {
    job_say_done(j, reason);
    job_end(j);
}
