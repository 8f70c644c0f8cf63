/* Start-time fair queueing over a tree of three levels; see fair.h.
 *
 * Tags are doubles in nanoseconds over weight: 2^53 ns are 104 days of device time before a
 * nanosecond is lost, and the loss is then rounding, not wrap-around. A user's node lives while it
 * has requests or while its tag is ahead of its class's virtual time (else forgetting it changes
 * nothing: waking would lift it to the same tag). */
#include "sched/fair.h"
#include "base/map.h"
#include "base/vec.h"
#include <assert.h>

/* One level of the tree. */
typedef struct fair_node {
    double start; /* tag of the next service */
    double vtime; /* of the children: the tag last served, or the largest tag after idling */
    double weight;
    int32_t n_awake; /* awake children (a request: 0 or 1) */
} fair_node;

typedef struct fair_user {
    fair_node node;
    str name; /* owned */
    int32_t n_flows;
} fair_user;

typedef struct fair_class {
    fair_node node;
    map users; /* name -> fair_user */
} fair_class;

struct sched_fair {
    fair_class cls[SCHED_CLASS_COUNT];
    double vtime; /* of the classes */
    int32_t n_awake;
    uint64_t n_made;
};

struct sched_flow {
    sched_fair *fair;
    sched_class cls;
    fair_user *user;
    fair_node node;
    uint64_t seq; /* order of creation */
};

sched_fair *sched_fair_create(const int32_t *weight) {
    static const int32_t defaults[SCHED_CLASS_COUNT] = {8, 4, 4, 1};
    sched_fair *f = NEW(sched_fair);
    for (int c = 0; c < SCHED_CLASS_COUNT; c++) {
        int32_t w = weight ? weight[c] : defaults[c];
        assert(w > 0);
        f->cls[c].node.weight = w;
    }
    return f;
}

static void user_destroy(fair_class *c, fair_user *u) {
    map_remove(&c->users, u->name);
    mem_free((void *)(uintptr_t)u->name.ptr);
    mem_free(u);
}

void sched_fair_destroy(sched_fair **fp) {
    sched_fair *f = *fp;
    if (!f) return;
    for (int c = 0; c < SCHED_CLASS_COUNT; c++) {
        fair_class *cls = &f->cls[c];
        while (cls->users.len > 0) {
            fair_user *u = (fair_user *)(uintptr_t)cls->users.entries[cls->users.len - 1].value;
            assert(u->n_flows == 0);
            user_destroy(cls, u);
        }
        map_finish(&cls->users);
    }
    mem_free(f);
    *fp = NULL;
}

/* Forgets users without requests whose tag lies behind: they would wake at the same place. */
static void sweep_users(fair_class *c) {
    for (size_t i = c->users.len; i-- > 0;) {
        fair_user *u = (fair_user *)(uintptr_t)c->users.entries[i].value;
        if (u->n_flows == 0 && (c->node.n_awake == 0 || u->node.start <= c->node.vtime))
            user_destroy(c, u);
    }
}

sched_flow *sched_flow_create(sched_fair *f, sched_class cls, str user) {
    assert((unsigned)cls < SCHED_CLASS_COUNT);
    fair_class *c = &f->cls[cls];
    fair_user *u = map_get_ptr(&c->users, user);
    if (!u) {
        u = NEW(fair_user);
        u->node.weight = 1;
        u->name = (str){mem_dup(user.len ? user.ptr : "", user.len ? user.len : 1), user.len};
        map_put_ptr(&c->users, u->name, u);
    }
    u->n_flows++;
    sched_flow *fl = NEW(sched_flow);
    *fl = (sched_flow){.fair = f, .cls = cls, .user = u, .seq = f->n_made++};
    fl->node.weight = 1;
    return fl;
}

void sched_flow_destroy(sched_flow **flp) {
    sched_flow *fl = *flp;
    if (!fl) return;
    sched_flow_sleep(fl);
    fl->user->n_flows--;
    sweep_users(&fl->fair->cls[fl->cls]);
    mem_free(fl);
    *flp = NULL;
}

static double max_f64(double a, double b) {
    return a > b ? a : b;
}

/* One more awake child below n; true if n itself wakes by it. */
static bool wake_level(fair_node *n, double parent_vtime) {
    if (n->n_awake++ > 0) return false;
    n->start = max_f64(n->start, parent_vtime);
    return true;
}

void sched_flow_wake(sched_flow *fl) {
    if (fl->node.n_awake) return;
    fair_class *c = &fl->fair->cls[fl->cls];
    wake_level(&fl->node, fl->user->node.vtime);
    if (!wake_level(&fl->user->node, c->node.vtime)) return;
    if (!wake_level(&c->node, fl->fair->vtime)) return;
    fl->fair->n_awake++;
}

void sched_flow_sleep(sched_flow *fl) {
    if (!fl->node.n_awake) return;
    sched_fair *f = fl->fair;
    fair_class *c = &f->cls[fl->cls];
    fair_node *u = &fl->user->node;
    /* When a level falls asleep as a whole, its virtual time moves to the largest tag served, so
     * that the next busy period starts level. */
    fl->node.n_awake = 0;
    if (--u->n_awake > 0) return;
    u->vtime = max_f64(u->vtime, fl->node.start);
    if (--c->node.n_awake > 0) return;
    for (size_t i = 0; i < c->users.len; i++) {
        const fair_user *other = (fair_user *)(uintptr_t)c->users.entries[i].value;
        c->node.vtime = max_f64(c->node.vtime, other->node.start);
    }
    if (--f->n_awake > 0) return;
    for (int i = 0; i < SCHED_CLASS_COUNT; i++) f->vtime = max_f64(f->vtime, f->cls[i].node.start);
}

bool sched_flow_awake(const sched_flow *fl) {
    return fl->node.n_awake > 0;
}

sched_class sched_flow_class(const sched_flow *fl) {
    return fl->cls;
}

/* The tag a node has or would have if it woke now. */
static double tag_now(const fair_node *n, double parent_vtime) {
    return n->n_awake ? n->start : max_f64(n->start, parent_vtime);
}

static int cmp_f64(double a, double b) {
    return a < b ? -1 : a > b;
}

int sched_flow_cmp_waiting(const sched_flow *a, const sched_flow *b) {
    const sched_fair *f = a->fair;
    const fair_class *ca = &f->cls[a->cls], *cb = &f->cls[b->cls];
    if (ca != cb) {
        int r = cmp_f64(tag_now(&ca->node, f->vtime), tag_now(&cb->node, f->vtime));
        return r ? r : (a->cls < b->cls ? -1 : 1);
    }
    if (a->user != b->user) {
        int r = cmp_f64(tag_now(&a->user->node, ca->node.vtime),
                        tag_now(&b->user->node, ca->node.vtime));
        if (r) return r;
    }
    return a->seq < b->seq ? -1 : a->seq > b->seq;
}

int sched_flow_cmp(const sched_flow *a, const sched_flow *b) {
    if (a->cls == b->cls && a->user == b->user) {
        int r =
            cmp_f64(tag_now(&a->node, a->user->node.vtime), tag_now(&b->node, b->user->node.vtime));
        if (r) return r;
    }
    return sched_flow_cmp_waiting(a, b);
}

void sched_flow_serve(sched_flow *fl) {
    assert(fl->node.n_awake);
    sched_fair *f = fl->fair;
    fair_class *c = &f->cls[fl->cls];
    f->vtime = max_f64(f->vtime, c->node.start);
    c->node.vtime = max_f64(c->node.vtime, fl->user->node.start);
    fl->user->node.vtime = max_f64(fl->user->node.vtime, fl->node.start);
}

void sched_flow_charge(sched_flow *fl, int64_t device_ns) {
    assert(device_ns >= 0);
    fair_class *c = &fl->fair->cls[fl->cls];
    double ns = (double)device_ns;
    fl->node.start += ns;
    fl->user->node.start += ns;
    c->node.start += ns / c->node.weight;
}

bool sched_flow_may_join(const sched_flow *fl, const sched_flow *lead) {
    const fair_class *a = &fl->fair->cls[fl->cls], *b = &lead->fair->cls[lead->cls];
    return a == b || a->node.start <= b->node.start;
}

double sched_fair_tag(const sched_fair *f, sched_class cls) {
    assert((unsigned)cls < SCHED_CLASS_COUNT);
    return f->cls[cls].node.start;
}

size_t sched_fair_users(const sched_fair *f) {
    size_t n = 0;
    for (int c = 0; c < SCHED_CLASS_COUNT; c++) n += f->cls[c].users.len;
    return n;
}
