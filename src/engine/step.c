/* One step: sequences that decode and chunks of prompts, side by side, through one model.
 *
 * The scheduler says whose turn it is and who may join. Decoding sequences give one token each;
 * prompts share what is left, fewer when somebody decodes so that answers keep flowing. The
 * engine's lock is let go while the model computes and while tokens are sampled: only the jobs of
 * the batch are touched then, and nobody else ends them meanwhile. */
#include "base/limits.h"
#include "engine/flow.h"
#include "engine/job.h"
#include "engine/report.h"
#include <math.h>

enum { STEP_TOKENS = 256, PROMPT_TOKENS_BESIDE = 128 };

typedef struct part {
    engine_job *j;
    engine_batch_seq seq;
    bool over;   /* its last event is out */
    size_t n_in; /* EMBED: inputs of this job in the step */
} part;

typedef struct step {
    engine *eng;
    engine_loaded *m;
    part parts[LIMIT_PARALLEL];
    size_t n_parts;
    int32_t n_tokens;
    engine_batch_seq seqs[LIMIT_PARALLEL];
    dev_cancel cancel;
} step;

static bool decodes(const engine_job *j) {
    return (int32_t)j->ids.len - j->n_fed == 1;
}

static void add_part(step *s, engine_job *j, int32_t n) {
    part *p = &s->parts[s->n_parts++];
    *p = (part){.j = j};
    p->seq = (engine_batch_seq){.seq = j->seq,
                                .ids = j->ids.items + j->n_fed,
                                .n_ids = n,
                                .pos = j->n_fed,
                                .want_row = j->n_fed + n == (int32_t)j->ids.len};
    s->n_tokens += n;
}

/* The window is full: start over with what is kept of it. */
static void shift_if_full(engine_job *j) {
    if ((int32_t)j->ids.len <= j->n_ctx) return;
    const engine_backend *b = &j->eng->b;
    job_shift(j);
    b->seq_destroy(j->seq);
    j->seq = b->seq_create(j->m->backend_model, j->ids.items, (int32_t)j->ids.len, &j->n_fed);
}

static void fill_generate(step *s, sched_job **jobs, size_t n) {
    bool any_decodes = false;
    for (size_t i = 0; i < n; i++) {
        engine_job *j = sched_job_owner(jobs[i]);
        if (j->past_prompt) shift_if_full(j);
        if (!decodes(j)) continue;
        any_decodes = true;
        add_part(s, j, 1);
    }
    int32_t room = any_decodes ? PROMPT_TOKENS_BESIDE : STEP_TOKENS;
    for (size_t i = 0; i < n && room > 0; i++) {
        engine_job *j = sched_job_owner(jobs[i]);
        int32_t left = (int32_t)j->ids.len - j->n_fed;
        if (decodes(j)) continue;
        if (left > room) left = room;
        add_part(s, j, left);
        room -= left;
    }
}

/* Whole texts of one job, as many as share a step well. */
static void fill_embed(step *s, engine_job *j) {
    part *p = &s->parts[s->n_parts++];
    *p = (part){.j = j};
    while (j->next_input + p->n_in < j->spec.n_inputs && p->n_in < LIMIT_PARALLEL) {
        const tok_ids *ids = &j->inputs[j->next_input + p->n_in];
        int32_t n = (int32_t)ids->len;
        if (p->n_in > 0 && s->n_tokens + n > STEP_TOKENS) break;
        s->seqs[p->n_in++] = (engine_batch_seq){.ids = ids->items, .n_ids = n};
        s->n_tokens += n;
    }
}

static err_code run_generate(step *s, err *e) {
    const engine_backend *b = &s->eng->b;
    for (size_t i = 0; i < s->n_parts; i++) {
        const engine_batch_seq *q = &s->parts[i].seq;
        s->seqs[i] = *q;
        TRY(b->seq_append(q->seq, q->ids, q->n_ids, e));
    }
    engine_batch batch = {.seqs = s->seqs, .n_seqs = (int32_t)s->n_parts, .logits = s->m->logits};
    return b->step(s->m->backend_model, &batch, &s->cancel, e);
}

static void take_generated(step *s) {
    const engine_backend *b = &s->eng->b;
    float *row = s->m->logits;
    for (size_t i = 0; i < s->n_parts; i++) {
        part *p = &s->parts[i];
        b->seq_commit(p->j->seq);
        p->j->n_fed += p->seq.n_ids;
        if (!p->j->past_prompt)
            stream_put_progress(p->j->stream, ENGINE_EVENT_PROMPT, p->j->n_fed, p->j->n_prompt);
        if (!p->seq.want_row) continue;
        p->over = job_take_row(p->j, row);
        row += s->m->facts.n_vocab;
    }
}

/* Scales to length 1, after cutting to the wanted dimensions. */
static void say_embedding(engine_job *j, size_t index, float *vec, size_t n) {
    if (j->spec.embed_dimensions > 0 && (size_t)j->spec.embed_dimensions < n)
        n = (size_t)j->spec.embed_dimensions;
    if (j->spec.embed_normalize) {
        double sum = 0;
        for (size_t i = 0; i < n; i++) sum += (double)vec[i] * (double)vec[i];
        double scale = sum > 0 ? 1 / sqrt(sum) : 0;
        for (size_t i = 0; i < n; i++) vec[i] = (float)((double)vec[i] * scale);
    }
    stream_put_embedding(j->stream, index, vec, n);
}

static err_code run_embed(step *s, err *e) {
    part *p = &s->parts[0];
    engine_job *j = p->j;
    size_t n_embd = (size_t)s->m->facts.n_embd;
    float *out = NEW_ARRAY(float, n_embd * p->n_in);
    engine_batch batch = {.seqs = s->seqs, .n_seqs = (int32_t)p->n_in, .embed = out};
    err_code code = s->eng->b.step(s->m->backend_model, &batch, &s->cancel, e);
    for (size_t i = 0; code == ERR_OK && i < p->n_in; i++)
        say_embedding(j, j->next_input++, out + i * n_embd, n_embd);
    mem_free(out);
    if (code == ERR_OK && j->next_input == j->spec.n_inputs) {
        job_say_done(j, ENGINE_DONE_STOP);
        p->over = true;
    }
    return code;
}

/* A failed step: what it appended is forgotten; a cancelled one only ends who asked for it, any
 * other failure ends all of the batch. A model whose file failed goes, to be loaded anew. */
static void undo(step *s, const err *why) {
    for (size_t i = 0; i < s->n_parts; i++) {
        part *p = &s->parts[i];
        if (p->j->seq) s->eng->b.seq_truncate(p->j->seq, p->j->n_fed);
        if (why->code == ERR_CANCELLED) continue;
        stream_put_error(p->j->stream, why);
        p->over = true;
    }
    if (why->code == ERR_IO) engine_expire(s->eng, &s->parts[0].j->spec.model);
}

static void compute(step *s) {
    err e = {0};
    engine_bell *bell = &s->eng->bell;
    bool embeds = s->parts[0].j->spec.kind == ENGINE_JOB_EMBED;
    bell_step_begin(bell, &s->cancel);
    for (size_t i = 0; i < s->n_parts; i++) stream_set_in_step(s->parts[i].j->stream, true);
    bell_step_armed(bell);
    err_code code = embeds ? run_embed(s, &e) : run_generate(s, &e);
    for (size_t i = 0; i < s->n_parts; i++) stream_set_in_step(s->parts[i].j->stream, false);
    bell_step_end(bell);
    if (code)
        undo(s, &e);
    else if (!embeds)
        take_generated(s);
}

static sched_class job_class(const engine_job *j) {
    if (j->spec.background) return SCHED_BACKGROUND;
    return j->spec.kind == ENGINE_JOB_EMBED ? SCHED_EMBED : SCHED_CHAT;
}

/* Everybody pays for the tokens they brought. */
static void settle(step *s, int64_t spent, int64_t now) {
    s->eng->device_ns += spent;
    for (size_t i = 0; i < s->n_parts; i++) {
        part *p = &s->parts[i];
        int64_t share = s->n_parts == 1 ? spent : spent * p->seq.n_ids / s->n_tokens;
        sched_charge(p->j->sj, share, now);
        p->j->seen_fed = p->j->spec.kind == ENGINE_JOB_EMBED ? (int64_t)p->j->next_input
                         : p->j->past_prompt                 ? p->j->n_prompt
                                                             : p->j->n_fed;
        p->j->seen_eval = p->j->n_eval;
        p->j->seen_answer = p->j->past_prompt;
        s->eng->class_ns[job_class(p->j)] += share;
        bool decodes = p->seq.want_row && p->seq.n_ids == 1;
        s->eng->n_tokens += p->seq.want_row;
        s->eng->n_prompt_tokens += decodes ? 0 : p->seq.n_ids;
    }
    for (size_t i = 0; i < s->n_parts; i++)
        if (s->parts[i].over) job_end(s->parts[i].j);
}

bool engine_run_step(engine *eng) {
    sched_job *jobs[LIMIT_PARALLEL], *lead = sched_pick(eng->s);
    if (!lead) return false;
    if (flow_owns(sched_job_model(lead))) {
        flow_lend_turn(eng->flow);
        return true;
    }
    engine_job *first = sched_job_owner(lead);
    step mem = {.eng = eng, .m = first->m}, *s = &mem;
    size_t n = sched_batch(eng->s, lead, jobs, LIMIT_PARALLEL);
    if (first->spec.kind == ENGINE_JOB_EMBED)
        fill_embed(s, first);
    else
        fill_generate(s, jobs, n);
    pthread_mutex_unlock(&eng->mu);
    int64_t from = clock_mono_ns();
    compute(s);
    int64_t to = clock_mono_ns();
    pthread_mutex_lock(&eng->mu);
    settle(s, to - from, to);
    return true;
}
