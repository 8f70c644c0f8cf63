/* The run functions of noise schedules that need no model. Each does what the class of its name
 * does in ComfyUI; its inputs are those of the table's row. */
#pragma once
#include "flow/call.h"

err_code schedule_karras_run(flow_call *c, err *e);
err_code schedule_exponential_run(flow_call *c, err *e);
err_code schedule_polyexponential_run(flow_call *c, err *e);
err_code schedule_laplace_run(flow_call *c, err *e);
err_code schedule_vp_run(flow_call *c, err *e);
err_code schedule_align_your_steps_run(flow_call *c, err *e);
err_code sigmas_split_run(flow_call *c, err *e);
err_code sigmas_split_denoise_run(flow_call *c, err *e);
err_code sigmas_flip_run(flow_call *c, err *e);
err_code sigmas_set_first_run(flow_call *c, err *e);
err_code sigmas_extend_run(flow_call *c, err *e);
