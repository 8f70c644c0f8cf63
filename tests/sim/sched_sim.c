/* The whole scheduling policy on a virtual clock with a simulated device: random models, users,
 * jobs, slow readers and clients that leave, replayable by seed.
 *
 * Held in every run: the ledger never exceeds its budget and holds exactly what is resident; no
 * model runs or is evicted wrongly; between two classes that have work the difference of normalised
 * service is at most one largest unit of each; every job ends, and none waits for ever. */
#include "base/clock.h"
#include "base/rng.h"
#include "sched/sched.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_MODELS = 6, N_USERS = 5, N_JOBS = 400, N_SEEDS = 60, BATCH_MAX = 8 };
#define MS ((int64_t)1000000)
#define MIB ((uint64_t)1 << 20)

static const int32_t WEIGHTS[SCHED_CLASS_COUNT] = {8, 4, 4, 1};

typedef enum job_phase { JOB_TO_COME, JOB_WAITS, JOB_RUNS, JOB_OVER } job_phase;

typedef struct sim_job {
    sched_job *sj;
    job_phase phase;
    sched_class cls;
    int32_t model, user;
    int64_t arrives, leaves; /* the client goes away at `leaves` */
    int64_t ready_at;        /* its prompt is read; CLOCK_FOREVER = not reading */
    int64_t wakes_at;        /* its reader is slow until then; CLOCK_FOREVER = awake */
    uint64_t kv_bytes;
    int32_t n_units;
    bool load_only;
} sim_job;

typedef struct sim_model {
    uint64_t weight_bytes, plan_bytes;
    sched_model *sm;
    int64_t loaded_at, unloaded_at; /* CLOCK_FOREVER = not on the way */
    bool resident, pinned;
} sim_model;

typedef struct sim {
    sched *s;
    rng r;
    int64_t now;
    uint64_t budget;
    sim_model models[N_MODELS];
    sim_job jobs[N_JOBS];
    bool pins;
    int32_t n_over, n_refused, n_busy_errors, n_left, n_loads, n_pins;
    double served[SCHED_CLASS_COUNT], unit[SCHED_CLASS_COUNT]; /* over weight */
    double base[SCHED_CLASS_COUNT][SCHED_CLASS_COUNT];         /* served when both began */
    bool both[SCHED_CLASS_COUNT][SCHED_CLASS_COUNT];
    int64_t n_compared; /* steps at which two classes had work */
    uint64_t trace;     /* a hash of everything that was decided */
} sim;

static int64_t upto(sim *m, int64_t n) {
    return (int64_t)rng_below(&m->r, (uint32_t)n);
}

static void trace(sim *m, uint64_t what, uint64_t which) {
    m->trace = (m->trace ^ (what * 1000003u + which + (uint64_t)m->now)) * 1099511628211u;
}

static str text_of(char *buf, size_t cap, const char *prefix, int32_t i) {
    snprintf(buf, cap, "%s%d", prefix, i);
    return str_from(buf);
}

/* A busy day: models of 50 to 400 MiB in 900, so that not all fit at once. */
static void sim_open(sim *m, uint64_t seed) {
    memset(m, 0, sizeof *m);
    rng_init(&m->r, seed);
    m->budget = 900 * MIB;
    m->pins = seed % 5 < 2;
    sched_config c = {.budget_bytes = m->budget,
                      .max_waiting = 60,
                      .max_models = seed % 3 == 0 ? 2 : 0,
                      .max_parallel = 4,
                      .weight = WEIGHTS,
                      .patience_ns = 300 * MS};
    m->s = sched_create(&c);
    for (int i = 0; i < N_MODELS; i++)
        m->models[i] = (sim_model){.weight_bytes = (uint64_t)(50 + upto(m, 350)) * MIB,
                                   .plan_bytes = (uint64_t)(5 + upto(m, 40)) * MIB,
                                   .loaded_at = CLOCK_FOREVER,
                                   .unloaded_at = CLOCK_FOREVER};
    if (seed % 4 == 0) m->models[0].weight_bytes = m->budget + 1; /* can never fit */
    int64_t at = 0;
    for (int i = 0; i < N_JOBS; i++) {
        at += upto(m, upto(m, 4) == 0 ? 400 : 20) * MS;
        m->jobs[i] = (sim_job){.cls = (sched_class)upto(m, SCHED_CLASS_COUNT),
                               .model = (int32_t)upto(m, N_MODELS),
                               .user = (int32_t)upto(m, N_USERS),
                               .arrives = at,
                               .leaves = upto(m, 10) ? CLOCK_FOREVER : at + upto(m, 500) * MS,
                               .ready_at = CLOCK_FOREVER,
                               .wakes_at = CLOCK_FOREVER,
                               .kv_bytes = (uint64_t)(1 + upto(m, 120)) * MIB,
                               .n_units = 1 + (int32_t)upto(m, 60),
                               .load_only = upto(m, 30) == 0};
    }
}

static void job_over(sim *m, sim_job *j) {
    if (j->sj) sched_finish(&j->sj, m->now);
    j->phase = JOB_OVER;
    j->ready_at = j->wakes_at = CLOCK_FOREVER;
    m->n_over++;
}

static void arrive(sim *m, sim_job *j) {
    char user[20], model[20];
    err e;
    sched_job_spec spec = {.cls = j->cls,
                           .user = text_of(user, sizeof user, "user", j->user),
                           .model_key = text_of(model, sizeof model, "model", j->model),
                           .model_bytes = m->models[j->model].weight_bytes,
                           .keep_alive_ns = j->user == 0   ? 0
                                            : j->user == 1 ? CLOCK_FOREVER
                                                           : 500 * MS,
                           .load_only = j->load_only,
                           .owner = j};
    j->phase = JOB_WAITS;
    if (sched_submit(m->s, &spec, m->now, &j->sj, &e) == ERR_OK) return;
    assert_int_equal(e.code, ERR_BUSY);
    m->n_busy_errors++;
    job_over(m, j);
}

/* All that has come due by now. */
static void events(sim *m) {
    for (int i = 0; i < N_MODELS; i++) {
        sim_model *o = &m->models[i];
        if (o->loaded_at <= m->now) {
            o->loaded_at = CLOCK_FOREVER;
            sched_model_loaded(o->sm, o->weight_bytes - MIB, o->plan_bytes, m->now);
        }
        if (o->unloaded_at <= m->now) {
            o->unloaded_at = CLOCK_FOREVER;
            sched_model_unloaded(o->sm, m->now);
        }
    }
    for (int i = 0; i < N_JOBS; i++) {
        sim_job *j = &m->jobs[i];
        if (j->phase == JOB_TO_COME && j->arrives <= m->now) arrive(m, j);
        if (j->ready_at <= m->now) {
            j->ready_at = CLOCK_FOREVER;
            sched_job_ready(j->sj, j->kv_bytes, m->now);
        }
        if (j->wakes_at <= m->now) {
            j->wakes_at = CLOCK_FOREVER;
            sched_job_wake(j->sj);
        }
        if ((j->phase == JOB_WAITS || j->phase == JOB_RUNS) && j->leaves <= m->now) {
            m->n_left++;
            job_over(m, j);
        }
    }
}

static int64_t next_event(const sim *m) {
    int64_t at = sched_wakeup(m->s, m->now);
#define SOONER(t)                                                                                  \
    if ((t) < at) at = (t)
    for (int i = 0; i < N_MODELS; i++) {
        SOONER(m->models[i].loaded_at);
        SOONER(m->models[i].unloaded_at);
    }
    for (int i = 0; i < N_JOBS; i++) {
        const sim_job *j = &m->jobs[i];
        if (j->phase == JOB_TO_COME) SOONER(j->arrives);
        if (j->phase == JOB_WAITS || j->phase == JOB_RUNS) SOONER(j->leaves);
        SOONER(j->ready_at);
        SOONER(j->wakes_at);
    }
    return at;
}

static sim_model *model_of(sim *m, const sched_model *sm) {
    str key = sched_model_key(sm);
    return &m->models[key.ptr[key.len - 1] - '0'];
}

/* At most one at a time, so that what is pinned leaves room for others. */
static void set_pin(sim *m, sim_model *o, sched_model *sm, bool pinned) {
    char key[20];
    for (int i = 0; i < N_MODELS; i++)
        if (pinned && m->models[i].pinned) return;
    sched_model_pin(sm, pinned);
    o->pinned = pinned;
    if (!pinned) return;
    m->n_pins++;
    sched_expire(m->s, text_of(key, sizeof key, "model", (int32_t)(o - m->models)), m->now);
}

static void act(sim *m, const sched_action *a) {
    sim_job *j = a->job ? sched_job_owner(a->job) : NULL;
    sim_model *o = a->model ? model_of(m, a->model) : NULL;
    trace(m, (uint64_t)a->kind, j ? (uint64_t)(j - m->jobs) : (uint64_t)(o - m->models));
    switch (a->kind) {
    case SCHED_DO_LOAD:
        assert_true(o->loaded_at == CLOCK_FOREVER && o->unloaded_at == CLOCK_FOREVER);
        o->sm = a->model;
        o->loaded_at = m->now + (5 + upto(m, 60)) * MS;
        m->n_loads++;
        return;
    case SCHED_DO_UNLOAD:
        assert_false(o->pinned);
        for (int i = 0; i < N_JOBS; i++)
            if (m->jobs[i].phase == JOB_RUNS) assert_ptr_not_equal(&m->models[m->jobs[i].model], o);
        o->unloaded_at = m->now + upto(m, 5) * MS;
        return;
    case SCHED_DO_START:
        if (j->load_only) {
            if (m->pins) set_pin(m, o, a->model, !o->pinned);
            job_over(m, j);
        } else {
            j->ready_at = m->now + upto(m, 10) * MS;
        }
        return;
    case SCHED_DO_RUN:
        j->phase = JOB_RUNS;
        return;
    case SCHED_DO_REFUSE:
        assert_true(a->error.msg[0] != 0);
        m->n_refused++;
        job_over(m, j);
        return;
    }
}

static void check_ledger(const sim *m) {
    const sched_ledger *l = sched_get_ledger(m->s);
    sched_resident list[N_MODELS];
    size_t n = sched_residents(m->s, m->now, list, N_MODELS);
    uint64_t weights = 0, plans = 0, kv = 0, running = 0;
    for (size_t i = 0; i < n; i++) {
        weights += list[i].weight_bytes;
        plans += list[i].plan_bytes;
        kv += list[i].kv_bytes;
    }
    for (int i = 0; i < N_JOBS; i++)
        if (m->jobs[i].phase == JOB_RUNS) running += m->jobs[i].kv_bytes;
    assert_true(sched_ledger_reserved(l) <= m->budget);
    assert_int_equal(l->reserved_bytes[SCHED_WEIGHTS], weights);
    assert_int_equal(l->reserved_bytes[SCHED_PLAN], plans);
    assert_int_equal(l->reserved_bytes[SCHED_KV], kv);
    assert_true(running <= kv);
}

static bool has_work(const sim *m, int cls) {
    for (int i = 0; i < N_JOBS; i++)
        if (m->jobs[i].phase == JOB_RUNS && (int)m->jobs[i].cls == cls &&
            m->jobs[i].wakes_at == CLOCK_FOREVER)
            return true;
    return false;
}

/* Before a step: pairs of classes that have work from here on are compared from here on. */
static void pairs_begin(sim *m) {
    bool work[SCHED_CLASS_COUNT];
    for (int a = 0; a < SCHED_CLASS_COUNT; a++) work[a] = has_work(m, a);
    for (int a = 0; a < SCHED_CLASS_COUNT; a++)
        for (int b = 0; b < a; b++) {
            bool both = work[a] && work[b];
            if (both && !m->both[a][b]) m->base[a][b] = m->served[a] - m->served[b];
            m->both[a][b] = both;
        }
}

static void pairs_check(sim *m) {
    for (int a = 0; a < SCHED_CLASS_COUNT; a++)
        for (int b = 0; b < a; b++) {
            if (!m->both[a][b]) continue;
            double apart = m->served[a] - m->served[b] - m->base[a][b];
            if (apart < 0) apart = -apart;
            m->n_compared++;
            if (apart > m->unit[a] + m->unit[b] + 1)
                fail_msg("classes %d and %d are %.1f ms apart, units %.1f and %.1f", a, b,
                         apart / 1e6, m->unit[a] / 1e6, m->unit[b] / 1e6);
        }
}

/* One step of the device; false when nobody has work. */
static bool step(sim *m) {
    sched_job *batch[BATCH_MAX], *lead = sched_pick(m->s);
    if (!lead) return false;
    pairs_begin(m);
    size_t n = sched_batch(m->s, lead, batch, BATCH_MAX);
    double charged[SCHED_CLASS_COUNT] = {0};
    sim_job *jobs[BATCH_MAX];
    int64_t spent = 0;
    for (size_t i = 0; i < n; i++) {
        sim_job *j = jobs[i] = sched_job_owner(batch[i]);
        assert_int_equal(j->phase, JOB_RUNS);
        assert_int_equal(j->model, ((sim_job *)sched_job_owner(lead))->model);
        int64_t cost = (1 + upto(m, j->cls == SCHED_IMAGE ? 30 : 8)) * MS;
        spent += cost;
        charged[j->cls] += (double)cost;
        sched_charge(batch[i], cost, m->now);
        trace(m, 9, (uint64_t)(j - m->jobs));
    }
    m->now += spent;
    for (int c = 0; c < SCHED_CLASS_COUNT; c++) {
        double normal = charged[c] / WEIGHTS[c];
        m->served[c] += normal;
        if (normal > m->unit[c]) m->unit[c] = normal;
    }
    pairs_check(m);
    for (size_t i = 0; i < n; i++) {
        if (--jobs[i]->n_units == 0) {
            job_over(m, jobs[i]);
        } else if (upto(m, 40) == 0) {
            sched_job_sleep(jobs[i]->sj);
            jobs[i]->wakes_at = m->now + upto(m, 50) * MS;
        }
    }
    return true;
}

static void sim_run(sim *m, uint64_t seed) {
    sim_open(m, seed);
    int64_t limit = 600000 * MS;
    while (m->n_over < N_JOBS) {
        sched_action a;
        events(m);
        while (sched_next(m->s, m->now, &a)) act(m, &a);
        check_ledger(m);
        if (step(m) || m->n_over == N_JOBS) continue;
        int64_t at = next_event(m);
        if (at == CLOCK_FOREVER)
            fail_msg("seed %llu: jobs wait and nothing will ever happen", (unsigned long long)seed);
        assert_true(at >= m->now);
        m->now = at;
        assert_true(m->now < limit);
    }
    sched_destroy(&m->s);
}

static void random_days_hold_every_rule(void **state) {
    (void)state;
    int64_t n_compared = 0, n_refused = 0, n_busy = 0, n_left = 0, n_loads = 0, n_pins = 0;
    for (uint64_t seed = 1; seed <= N_SEEDS; seed++) {
        static sim m;
        sim_run(&m, seed);
        n_compared += m.n_compared;
        n_refused += m.n_refused;
        n_busy += m.n_busy_errors;
        n_left += m.n_left;
        n_loads += m.n_loads;
        n_pins += m.n_pins;
    }
    /* The days met everything they are meant to meet. */
    assert_true(n_compared > 10000);
    assert_true(n_refused > 0 && n_busy > 0 && n_left > 0);
    assert_true(n_loads > N_SEEDS * N_MODELS && n_pins > N_SEEDS / 2);
}

static void a_seed_replays_exactly(void **state) {
    (void)state;
    static sim a, b, c;
    sim_run(&a, 5);
    sim_run(&b, 5);
    sim_run(&c, 6);
    assert_true(a.trace == b.trace && a.now == b.now);
    assert_true(a.trace != c.trace);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_days_hold_every_rule),
        cmocka_unit_test(a_seed_replays_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
