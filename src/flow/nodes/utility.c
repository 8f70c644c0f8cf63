/* Utilities: primitive values, switches and previews of anything. */
#include "flow/nodes/table.h"

const flow_def flow_nodes_utility[] = {
    {NODE("PrimitiveString", "String", "utils/primitive", FLOW_SHOW_STATUS),
     INPUTS(TEXT("value", NULL, FLOW_SINGLE)), OUTPUTS({"STRING", NULL, false})},
    {NODE("PrimitiveStringMultiline", "String (Multiline)", "utils/primitive", FLOW_SHOW_STATUS),
     INPUTS(TEXT("value", NULL, FLOW_MULTILINE)), OUTPUTS({"STRING", NULL, false})},
    {NODE("PrimitiveInt", "Int", "utils/primitive", FLOW_SHOW_STATUS),
     INPUTS(INT("value", 0, -INT64_MAX, INT64_MAX, 0, FLOW_CONTROL | FLOW_NO_DEFAULT)),
     OUTPUTS({"INT", NULL, false})},
    {NODE("PrimitiveFloat", "Float", "utils/primitive", FLOW_SHOW_STATUS),
     INPUTS(
         FLOAT("value", 0, -9223372036854775807.0, 9223372036854775807.0, 0, 0, FLOW_NO_DEFAULT)),
     OUTPUTS({"FLOAT", NULL, false})},
    {NODE("PrimitiveBoolean", "Boolean", "utils/primitive", FLOW_SHOW_STATUS),
     INPUTS(BOOL("value", false, FLOW_NO_DEFAULT | FLOW_OPTS)), OUTPUTS({"BOOLEAN", NULL, false})},
    {NODE("PreviewAny", "Preview Any", "utils", FLOW_OUTPUT_NODE),
     INPUTS(LINK("source", "*", FLOW_OPTS)), NO_OUTPUTS},

    {NODE("SeedNode", "Seed", "utils", FLOW_SHOW_STATUS),
     INPUTS(INT("seed", 0, 0, INT64_MAX, 0, FLOW_NO_DEFAULT | FLOW_CONTROL)),
     OUTPUTS({"INT", "seed", false})},
    {NODE("ComfySwitchNode", "If/Else Switch", "utils/logic", FLOW_EXPERIMENTAL | FLOW_SHOW_STATUS),
     INPUTS(BOOL("switch", false, FLOW_NO_DEFAULT | FLOW_OPTS), LINK("on_false", "*", FLOW_LAZY),
            LINK("on_true", "*", FLOW_LAZY)),
     OUTPUTS({"*", "output", false})},
    {NODE("ComfyNotNode", "Not", "utils/logic", FLOW_SHOW_STATUS),
     INPUTS(LINK("value", "*", FLOW_OPTS)), OUTPUTS({"BOOLEAN", NULL, false})},
    {NODE("ComfyNumberConvert", "Convert Number", "utils", FLOW_SHOW_STATUS),
     INPUTS(LINK("value", "INT,FLOAT,STRING,BOOLEAN", FLOW_OPTS)),
     OUTPUTS({"FLOAT", NULL, false}, {"INT", NULL, false})},
    {.name = NULL}};
