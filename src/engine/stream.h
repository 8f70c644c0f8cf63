/* The stream of one job's events, from the engine's threads to one reader.
 *
 * Two owners: the reader (engine_stream_destroy) and the job (stream_release). The engine pushes,
 * the reader takes; what waits in between is joined where it can be and counted in bytes.
 * Threads: all functions are safe; locks are taken in the order stream, bell. */
#pragma once
#include "dev/dev.h"
#include "engine/engine.h"
#include <pthread.h>
#include <stdatomic.h>

/* Wakes the engine thread, and stops a step when every job in it was cancelled. */
typedef struct engine_bell {
    pthread_mutex_t mu;
    pthread_cond_t cond;
    bool rung;
    int32_t step_left; /* jobs of the running step that are not cancelled, and one while arming */
    dev_cancel *step_cancel;
} engine_bell;

void bell_init(engine_bell *b);
void bell_finish(engine_bell *b);
void bell_ring(engine_bell *b);
/* Waits until the bell was rung since the last wait, or until `deadline` (monotonic ns). */
void bell_wait(engine_bell *b, int64_t deadline);
/* Around a step: begin, stream_set_in_step for its jobs, armed, (the step), end. From armed on,
 * *cancel is set when every job of the step was cancelled. */
void bell_step_begin(engine_bell *b, dev_cancel *cancel);
void bell_step_armed(engine_bell *b);
void bell_step_end(engine_bell *b);

engine_stream *stream_create(engine_bell *bell, void (*notify)(void *arg), void *arg);
/* The job's side lets go; the reader may still read what waits. */
void stream_release(engine_stream **s);
bool stream_cancelled(const engine_stream *s);           /* the reader does not want it any more */
size_t stream_bytes(engine_stream *s);                   /* waiting to be read */
void stream_set_in_step(engine_stream *s, bool in_step); /* between bell_step_begin and _end */

void stream_put_progress(engine_stream *s, engine_event_kind kind, int64_t n_done, int64_t n_total);
/* How many tokens the job has drawn: told with the next text. */
void stream_set_tokens(engine_stream *s, int64_t n_eval_tokens);
void stream_put_text(engine_stream *s, engine_channel channel, str text, const engine_logprob *lp,
                     size_t n_lp);
void stream_put_tool_call(engine_stream *s, const engine_tool_call *call); /* copied */
void stream_put_embedding(engine_stream *s, size_t index, const float *vec, size_t n_vec);
/* An event of a workflow; everything in it is copied. A preview or progress that nobody has read is
 * replaced by the next of the same node. */
void stream_put_node(engine_stream *s, const engine_event *ev);
void stream_put_last(engine_stream *s, const engine_event *ev);   /* a workflow's DONE or ERROR */
void stream_put_done(engine_stream *s, const engine_event *done); /* text, context are copied */
void stream_put_error(engine_stream *s, const err *why);
