/* Background threads, counted. */
#include "api/tasks.h"
#include "base/mem.h"
#include <pthread.h>

struct tasks {
    pthread_mutex_t mu;
    pthread_cond_t ended;
    int n_running;
};

typedef struct task {
    tasks *owner;
    void (*fn)(void *arg);
    void *arg;
} task;

tasks *tasks_create(void) {
    tasks *t = NEW(tasks);
    pthread_mutex_init(&t->mu, NULL);
    pthread_cond_init(&t->ended, NULL);
    return t;
}

void tasks_destroy(tasks **tp) {
    tasks *t = *tp;
    if (!t) return;
    pthread_mutex_lock(&t->mu);
    while (t->n_running > 0) pthread_cond_wait(&t->ended, &t->mu);
    pthread_mutex_unlock(&t->mu);
    pthread_mutex_destroy(&t->mu);
    pthread_cond_destroy(&t->ended);
    mem_free(t);
    *tp = NULL;
}

static void *task_main(void *arg) {
    task *k = arg;
    tasks *t = k->owner;
    k->fn(k->arg);
    mem_free(k);
    pthread_mutex_lock(&t->mu);
    t->n_running--;
    pthread_cond_broadcast(&t->ended);
    pthread_mutex_unlock(&t->mu);
    return NULL;
}

void tasks_run(tasks *t, void (*fn)(void *arg), void *arg) {
    task *k = NEW(task);
    *k = (task){t, fn, arg};
    pthread_mutex_lock(&t->mu);
    t->n_running++;
    pthread_mutex_unlock(&t->mu);
    pthread_attr_t attr;
    pthread_t thread;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attr, task_main, k)) task_main(k);
    pthread_attr_destroy(&attr);
}
