/* Shapes of prompts and jobs that several surfaces share. Threads: any. */
#pragma once
#include "api/comfy_engine.h"

/* A checked prompt on its way into the queue. Borrows. */
typedef struct comfy_prompt {
    const comfy_check *check;
    json_t *extra; /* extra_data as stored */
    str owner;     /* comfy_owner.h; empty: nobody */
} comfy_prompt;

/* Queues it: job->id and job->number are set by the caller, the rest here (texts in `a`). Errors
 * of comfy_queue_submit. */
err_code comfy_prompt_enqueue(comfy *c, const comfy_prompt *p, image_job *job, arena *a, err *e);

/* A workflow as the editor saves it: nodes and links instead of an API graph. */
bool comfy_is_ui_workflow(const json_t *prompt);
json_t *comfy_queue_item(const image_job *j); /* [number, id, prompt, extra_data, outputs] */
json_t *comfy_history_entry(const image_job *j);
json_t *comfy_number(double v); /* an integer when it is one */
