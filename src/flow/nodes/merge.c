/* Merging models, and writing them to files. */
#include "flow/nodes/model_runs.h"
#include "flow/nodes/table.h"

/* The blocks of SD1 and SD2, which are of one form. */
#define SD_BLOCKS                                                                                  \
    LINK("model1", "MODEL", 0), LINK("model2", "MODEL", 0),                                        \
        FLOAT("time_embed.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                           \
        FLOAT("label_emb.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                            \
        FLOAT("input_blocks.0.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                       \
        FLOAT("input_blocks.1.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                       \
        FLOAT("input_blocks.2.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                       \
        FLOAT("input_blocks.3.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                       \
        FLOAT("input_blocks.4.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                       \
        FLOAT("input_blocks.5.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                       \
        FLOAT("input_blocks.6.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                       \
        FLOAT("input_blocks.7.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                       \
        FLOAT("input_blocks.8.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                       \
        FLOAT("input_blocks.9.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                       \
        FLOAT("input_blocks.10.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                      \
        FLOAT("input_blocks.11.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                      \
        FLOAT("middle_block.0.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                       \
        FLOAT("middle_block.1.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                       \
        FLOAT("middle_block.2.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                       \
        FLOAT("output_blocks.0.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                      \
        FLOAT("output_blocks.1.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                      \
        FLOAT("output_blocks.2.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                      \
        FLOAT("output_blocks.3.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                      \
        FLOAT("output_blocks.4.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                      \
        FLOAT("output_blocks.5.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                      \
        FLOAT("output_blocks.6.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                      \
        FLOAT("output_blocks.7.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                      \
        FLOAT("output_blocks.8.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                      \
        FLOAT("output_blocks.9.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                      \
        FLOAT("output_blocks.10.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                     \
        FLOAT("output_blocks.11.", 1.0, 0.0, 1.0, 0.01, 0, 0),                                     \
        FLOAT("out.", 1.0, 0.0, 1.0, 0.01, 0, 0)

#define SCALE_INPUTS(link)                                                                         \
    INPUTS(link, FLOAT("q", 1.0, 0.0, 10.0, 0.01, 0, 0), FLOAT("k", 1.0, 0.0, 10.0, 0.01, 0, 0),   \
           FLOAT("v", 1.0, 0.0, 10.0, 0.01, 0, 0), FLOAT("out", 1.0, 0.0, 10.0, 0.01, 0, 0))
#define EXPERIMENT(name)                                                                           \
    NODE(name, name, "_for_testing/attention_experiments", FLOW_EXPERIMENTAL | FLOW_SHOW_STATUS)

const flow_def flow_nodes_merge[] = {
    {NODE("ModelMergeSimple", "ModelMergeSimple", "advanced/model_merging", 0),
     INPUTS(LINK("model1", "MODEL", 0), LINK("model2", "MODEL", 0),
            FLOAT("ratio", 1.0, 0.0, 1.0, 0.01, 0, 0)),
     OUTPUTS({"MODEL", NULL, false}), .run = merge_simple_run},
    {NODE("ModelMergeBlocks", "ModelMergeBlocks", "advanced/model_merging", 0),
     INPUTS(LINK("model1", "MODEL", 0), LINK("model2", "MODEL", 0),
            FLOAT("input", 1.0, 0.0, 1.0, 0.01, 0, 0), FLOAT("middle", 1.0, 0.0, 1.0, 0.01, 0, 0),
            FLOAT("out", 1.0, 0.0, 1.0, 0.01, 0, 0)),
     OUTPUTS({"MODEL", NULL, false}), .run = merge_blocks_run},
    {NODE("ModelMergeSubtract", "ModelMergeSubtract", "advanced/model_merging", 0),
     INPUTS(LINK("model1", "MODEL", 0), LINK("model2", "MODEL", 0),
            FLOAT("multiplier", 1.0, -10.0, 10.0, 0.01, 0, 0)),
     OUTPUTS({"MODEL", NULL, false}), .run = merge_subtract_run},
    {NODE("ModelMergeAdd", "ModelMergeAdd", "advanced/model_merging", 0),
     INPUTS(LINK("model1", "MODEL", 0), LINK("model2", "MODEL", 0)),
     OUTPUTS({"MODEL", NULL, false}), .run = merge_add_run},
    {NODE("ModelMergeSD1", "ModelMergeSD1", "advanced/model_merging/model_specific", 0),
     INPUTS(SD_BLOCKS), OUTPUTS({"MODEL", NULL, false}), .run = merge_blocks_run},
    {NODE("ModelMergeSD2", "ModelMergeSD2", "advanced/model_merging/model_specific", 0),
     INPUTS(SD_BLOCKS), OUTPUTS({"MODEL", NULL, false}), .run = merge_blocks_run},
    {NODE("ModelMergeSDXL", "ModelMergeSDXL", "advanced/model_merging/model_specific", 0),
     INPUTS(LINK("model1", "MODEL", 0), LINK("model2", "MODEL", 0),
            FLOAT("time_embed.", 1.0, 0.0, 1.0, 0.01, 0, 0),
            FLOAT("label_emb.", 1.0, 0.0, 1.0, 0.01, 0, 0),
            FLOAT("input_blocks.0", 1.0, 0.0, 1.0, 0.01, 0, 0),
            FLOAT("input_blocks.1", 1.0, 0.0, 1.0, 0.01, 0, 0),
            FLOAT("input_blocks.2", 1.0, 0.0, 1.0, 0.01, 0, 0),
            FLOAT("input_blocks.3", 1.0, 0.0, 1.0, 0.01, 0, 0),
            FLOAT("input_blocks.4", 1.0, 0.0, 1.0, 0.01, 0, 0),
            FLOAT("input_blocks.5", 1.0, 0.0, 1.0, 0.01, 0, 0),
            FLOAT("input_blocks.6", 1.0, 0.0, 1.0, 0.01, 0, 0),
            FLOAT("input_blocks.7", 1.0, 0.0, 1.0, 0.01, 0, 0),
            FLOAT("input_blocks.8", 1.0, 0.0, 1.0, 0.01, 0, 0),
            FLOAT("middle_block.0", 1.0, 0.0, 1.0, 0.01, 0, 0),
            FLOAT("middle_block.1", 1.0, 0.0, 1.0, 0.01, 0, 0),
            FLOAT("middle_block.2", 1.0, 0.0, 1.0, 0.01, 0, 0),
            FLOAT("output_blocks.0", 1.0, 0.0, 1.0, 0.01, 0, 0),
            FLOAT("output_blocks.1", 1.0, 0.0, 1.0, 0.01, 0, 0),
            FLOAT("output_blocks.2", 1.0, 0.0, 1.0, 0.01, 0, 0),
            FLOAT("output_blocks.3", 1.0, 0.0, 1.0, 0.01, 0, 0),
            FLOAT("output_blocks.4", 1.0, 0.0, 1.0, 0.01, 0, 0),
            FLOAT("output_blocks.5", 1.0, 0.0, 1.0, 0.01, 0, 0),
            FLOAT("output_blocks.6", 1.0, 0.0, 1.0, 0.01, 0, 0),
            FLOAT("output_blocks.7", 1.0, 0.0, 1.0, 0.01, 0, 0),
            FLOAT("output_blocks.8", 1.0, 0.0, 1.0, 0.01, 0, 0),
            FLOAT("out.", 1.0, 0.0, 1.0, 0.01, 0, 0)),
     OUTPUTS({"MODEL", NULL, false}), .run = merge_blocks_run},
    {NODE("CLIPMergeSimple", "CLIPMergeSimple", "advanced/model_merging", 0),
     INPUTS(LINK("clip1", "CLIP", 0), LINK("clip2", "CLIP", 0),
            FLOAT("ratio", 1.0, 0.0, 1.0, 0.01, 0, 0)),
     OUTPUTS({"CLIP", NULL, false}), .run = merge_clip_simple_run},
    {NODE("CLIPMergeSubtract", "CLIPMergeSubtract", "advanced/model_merging", 0),
     INPUTS(LINK("clip1", "CLIP", 0), LINK("clip2", "CLIP", 0),
            FLOAT("multiplier", 1.0, -10.0, 10.0, 0.01, 0, 0)),
     OUTPUTS({"CLIP", NULL, false}), .run = merge_clip_subtract_run},
    {NODE("CLIPMergeAdd", "CLIPMergeAdd", "advanced/model_merging", 0),
     INPUTS(LINK("clip1", "CLIP", 0), LINK("clip2", "CLIP", 0)), OUTPUTS({"CLIP", NULL, false}),
     .run = merge_clip_add_run},
    {NODE("CheckpointSave", "Save Checkpoint", "advanced/model_merging", FLOW_OUTPUT_NODE),
     INPUTS(LINK("model", "MODEL", 0), LINK("clip", "CLIP", 0), LINK("vae", "VAE", 0),
            TEXT("filename_prefix", "checkpoints/ComfyUI", 0), SAVED_WITH),
     NO_OUTPUTS, .run = save_checkpoint_run},
    {NODE("LoraSave", "Extract and Save Lora", "_for_testing",
          FLOW_OUTPUT_NODE | FLOW_EXPERIMENTAL | FLOW_SHOW_STATUS),
     INPUTS(TEXT("filename_prefix", "loras/ComfyUI_extracted_lora", FLOW_SINGLE),
            INT("rank", 8, 1, 4096, 1, 0),
            COMBO("lora_type", CHOICES("standard", "full_diff"), NULL, FLOW_PLAIN_COMBO),
            BOOL("bias_diff", true, 0), LINK("model_diff", "MODEL", FLOW_OPTS | FLOW_OPTIONAL),
            LINK("text_encoder_diff", "CLIP", FLOW_OPTS | FLOW_OPTIONAL), SAVED_WITH),
     NO_OUTPUTS, .run = save_adapter_run},
    {NODE("CLIPSave", "CLIPSave", "advanced/model_merging", FLOW_OUTPUT_NODE),
     INPUTS(LINK("clip", "CLIP", 0), TEXT("filename_prefix", "clip/ComfyUI", 0), SAVED_WITH),
     NO_OUTPUTS, .run = save_clip_run},
    {NODE("VAESave", "VAESave", "advanced/model_merging", FLOW_OUTPUT_NODE),
     INPUTS(LINK("vae", "VAE", 0), TEXT("filename_prefix", "vae/ComfyUI_vae", 0), SAVED_WITH),
     NO_OUTPUTS, .run = save_vae_run},
    {NODE("ModelSave", "ModelSave", "advanced/model_merging", FLOW_OUTPUT_NODE),
     INPUTS(LINK("model", "MODEL", 0), TEXT("filename_prefix", "diffusion_models/ComfyUI", 0),
            SAVED_WITH),
     NO_OUTPUTS, .run = save_model_run},
    {EXPERIMENT("UNetSelfAttentionMultiply"), SCALE_INPUTS(LINK("model", "MODEL", FLOW_OPTS)),
     OUTPUTS({"MODEL", NULL, false}), .run = scale_self_run},
    {EXPERIMENT("UNetCrossAttentionMultiply"), SCALE_INPUTS(LINK("model", "MODEL", FLOW_OPTS)),
     OUTPUTS({"MODEL", NULL, false}), .run = scale_cross_run},
    {EXPERIMENT("CLIPAttentionMultiply"), SCALE_INPUTS(LINK("clip", "CLIP", FLOW_OPTS)),
     OUTPUTS({"CLIP", NULL, false}), .run = scale_clip_run},
    {.name = NULL}};
