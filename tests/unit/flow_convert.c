/* Saved workflows to API graphs: widgets and their extra values, both forms of links, reroutes,
 * primitives, muted and bypassed nodes, subgraphs; and what strangers send. */
#include "flow_rig.h"

#include "flow/convert.h"

static arena *mem;

static void converts(const char *workflow, const char *want) {
    value *got = NULL;
    err e;
    if (flow_convert(rig_parse(mem, workflow), mem, &got, &e)) fail_msg("%s", e.msg);
    for (size_t i = 0; i < got->as.map.len; i++) { /* titles are compared in one place only */
        value *node = got->as.map.pairs[i].val;
        assert_non_null(rig_get(node, "_meta"));
        node->as.map.len = 2;
    }
    RIG_EQUAL(mem, got, rig_parse(mem, want));
}

static void test_default_workflow(void **state) {
    (void)state;
    converts(
        "{\"last_node_id\":9,\"nodes\":["
        "{\"id\":3,\"type\":\"KSampler\",\"mode\":0,\"inputs\":["
        "{\"name\":\"model\",\"type\":\"MODEL\",\"link\":1},"
        "{\"name\":\"positive\",\"type\":\"CONDITIONING\",\"link\":4},"
        "{\"name\":\"negative\",\"type\":\"CONDITIONING\",\"link\":6},"
        "{\"name\":\"latent_image\",\"type\":\"LATENT\",\"link\":2}],"
        "\"widgets_values\":[156680208700286,\"randomize\",20,8,\"euler\",\"normal\",1]},"
        "{\"id\":4,\"type\":\"CheckpointLoaderSimple\",\"widgets_values\":[\"m.safetensors\"]},"
        "{\"id\":5,\"type\":\"EmptyLatentImage\",\"widgets_values\":[512,256,1]},"
        "{\"id\":6,\"type\":\"CLIPTextEncode\",\"inputs\":[{\"name\":\"clip\",\"type\":\"CLIP\","
        "\"link\":3}],\"widgets_values\":[\"a\"]},"
        "{\"id\":7,\"type\":\"CLIPTextEncode\",\"inputs\":[{\"name\":\"clip\",\"type\":\"CLIP\","
        "\"link\":5}],\"widgets_values\":[\"b\"]},"
        "{\"id\":8,\"type\":\"Note\",\"widgets_values\":[\"hello\"]}],"
        "\"links\":[[1,4,0,3,0,\"MODEL\"],[2,5,0,3,3,\"LATENT\"],[3,4,1,6,0,\"CLIP\"],"
        "[4,6,0,3,1,\"CONDITIONING\"],[5,4,1,7,0,\"CLIP\"],[6,7,0,3,2,\"CONDITIONING\"]],"
        "\"version\":0.4}",
        "{\"3\":{\"inputs\":{\"seed\":156680208700286,\"steps\":20,\"cfg\":8,\"sampler_name\":"
        "\"euler\",\"scheduler\":\"normal\",\"denoise\":1,\"model\":[\"4\",0],\"positive\":[\"6\","
        "0],\"negative\":[\"7\",0],\"latent_image\":[\"5\",0]},\"class_type\":\"KSampler\"},"
        "\"4\":{\"inputs\":{\"ckpt_name\":\"m.safetensors\"},\"class_type\":"
        "\"CheckpointLoaderSimple\"},"
        "\"5\":{\"inputs\":{\"width\":512,\"height\":256,\"batch_size\":1},\"class_type\":"
        "\"EmptyLatentImage\"},"
        "\"6\":{\"inputs\":{\"text\":\"a\",\"clip\":[\"4\",1]},\"class_type\":\"CLIPTextEncode\"},"
        "\"7\":{\"inputs\":{\"text\":\"b\",\"clip\":[\"4\",1]},\"class_type\":"
        "\"CLIPTextEncode\"}}");
}

static void test_virtual_nodes(void **state) {
    (void)state;
    converts(
        "{\"nodes\":["
        "{\"id\":1,\"type\":\"PrimitiveNode\",\"widgets_values\":[640,\"fixed\"]},"
        "{\"id\":2,\"type\":\"EmptyLatentImage\",\"inputs\":[{\"name\":\"width\",\"type\":\"INT\","
        "\"link\":10,\"widget\":{\"name\":\"width\"}}],\"widgets_values\":[512,512,1]},"
        "{\"id\":3,\"type\":\"Reroute\",\"inputs\":[{\"name\":\"\",\"type\":\"*\",\"link\":11}]},"
        "{\"id\":4,\"type\":\"LatentUpscaleBy\",\"inputs\":[{\"name\":\"samples\",\"type\":"
        "\"LATENT\",\"link\":12}],\"widgets_values\":[\"bilinear\",1.5]}],"
        "\"links\":[{\"id\":10,\"origin_id\":1,\"origin_slot\":0,\"target_id\":2,\"target_slot\":0,"
        "\"type\":\"INT\"},"
        "{\"id\":11,\"origin_id\":2,\"origin_slot\":0,\"target_id\":3,\"target_slot\":0,\"type\":"
        "\"*\"},"
        "{\"id\":12,\"origin_id\":3,\"origin_slot\":0,\"target_id\":4,\"target_slot\":0,\"type\":"
        "\"LATENT\"}],\"version\":1}",
        "{\"2\":{\"inputs\":{\"width\":640,\"height\":512,\"batch_size\":1},\"class_type\":"
        "\"EmptyLatentImage\"},"
        "\"4\":{\"inputs\":{\"upscale_method\":\"bilinear\",\"scale_by\":1.5,\"samples\":[\"2\",0]}"
        ",\"class_type\":\"LatentUpscaleBy\"}}");
}

/* A value that is set is got by its name, also inside a subgraph; a name that nobody sets, or a
 * ring of names, is no link. */
static void test_names(void **state) {
    (void)state;
    converts(
        "{\"nodes\":["
        "{\"id\":1,\"type\":\"PrimitiveString\",\"widgets_values\":[\"x\"]},"
        "{\"id\":2,\"type\":\"SetNode\",\"inputs\":[{\"name\":\"*\",\"link\":1}],"
        "\"widgets_values\":[\"words\"]},"
        "{\"id\":3,\"type\":\"GetNode\",\"widgets_values\":[\"words\"]},"
        "{\"id\":4,\"type\":\"PreviewAny\",\"inputs\":[{\"name\":\"source\",\"link\":2}]},"
        "{\"id\":5,\"type\":\"GetNode\",\"widgets_values\":[\"nothing\"]},"
        "{\"id\":6,\"type\":\"PreviewAny\",\"inputs\":[{\"name\":\"source\",\"link\":3}]},"
        "{\"id\":7,\"type\":\"s\"},"
        "{\"id\":8,\"type\":\"SetNode\",\"inputs\":[{\"link\":4}],\"widgets_values\":[\"ring\"]},"
        "{\"id\":9,\"type\":\"GetNode\",\"widgets_values\":[\"ring\"]},"
        "{\"id\":10,\"type\":\"PreviewAny\",\"inputs\":[{\"name\":\"source\",\"link\":4}]}],"
        "\"links\":[[1,1,0,2,0,\"STRING\"],[2,3,0,4,0,\"*\"],[3,5,0,6,0,\"*\"],[4,9,0,8,0,\"*\"]],"
        "\"definitions\":{\"subgraphs\":[{\"id\":\"s\",\"nodes\":["
        "{\"id\":1,\"type\":\"GetNode\",\"widgets_values\":[\"words\"]},"
        "{\"id\":2,\"type\":\"PreviewAny\",\"inputs\":[{\"name\":\"source\",\"link\":1}]}],"
        "\"links\":[[1,1,0,2,0,\"*\"]]}]}}",
        "{\"1\":{\"inputs\":{\"value\":\"x\"},\"class_type\":\"PrimitiveString\"},"
        "\"4\":{\"inputs\":{\"source\":[\"1\",0]},\"class_type\":\"PreviewAny\"},"
        "\"6\":{\"inputs\":{},\"class_type\":\"PreviewAny\"},"
        "\"10\":{\"inputs\":{},\"class_type\":\"PreviewAny\"},"
        "\"7:2\":{\"inputs\":{\"source\":[\"1\",0]},\"class_type\":\"PreviewAny\"}}");
}

/* A bypassed node hands its input on; a muted one takes its links with it. */
static void test_modes(void **state) {
    (void)state;
    converts(
        "{\"nodes\":["
        "{\"id\":1,\"type\":\"PrimitiveString\",\"widgets_values\":[\"x\"]},"
        "{\"id\":2,\"type\":\"StringTrim\",\"mode\":4,\"inputs\":[{\"name\":\"string\",\"type\":"
        "\"STRING\",\"link\":1}],\"widgets_values\":[\"\",\"Both\"]},"
        "{\"id\":3,\"type\":\"PreviewAny\",\"inputs\":[{\"name\":\"source\",\"type\":\"*\",\"link\""
        ":2}]},"
        "{\"id\":4,\"type\":\"PrimitiveString\",\"mode\":2,\"widgets_values\":[\"y\"]},"
        "{\"id\":5,\"type\":\"PreviewAny\",\"inputs\":[{\"name\":\"source\",\"type\":\"*\",\"link\""
        ":3}]},"
        "{\"id\":6,\"type\":\"PreviewAny\",\"mode\":2,\"inputs\":[{\"name\":\"source\",\"type\":"
        "\"*\",\"link\":4}]}],"
        "\"links\":[[1,1,0,2,0,\"STRING\"],[2,2,0,3,0,\"STRING\"],[3,4,0,5,0,\"STRING\"],"
        "[4,1,0,6,0,\"STRING\"]]}",
        "{\"1\":{\"inputs\":{\"value\":\"x\"},\"class_type\":\"PrimitiveString\"},"
        "\"3\":{\"inputs\":{\"source\":[\"1\",0]},\"class_type\":\"PreviewAny\"},"
        "\"5\":{\"inputs\":{},\"class_type\":\"PreviewAny\"}}");
}

#define SUBGRAPH                                                                                   \
    "\"definitions\":{\"subgraphs\":[{\"id\":\"s-1\",\"inputs\":[{\"name\":\"text\",\"type\":"     \
    "\"STRING\",\"linkIds\":[1]}],\"outputs\":[{\"name\":\"out\",\"type\":\"STRING\",\"linkIds\":" \
    "[2]}],\"nodes\":[{\"id\":7,\"type\":\"StringTrim\",\"inputs\":[{\"name\":\"string\","         \
    "\"type\":"                                                                                    \
    "\"STRING\",\"link\":1,\"widget\":{\"name\":\"string\"}}],\"widgets_values\":[\"inner\","      \
    "\"Both\"]}],\"links\":[{\"id\":1,\"origin_id\":-10,\"origin_slot\":0,\"target_id\":7,"        \
    "\"target_slot\":0,\"type\":\"STRING\"},{\"id\":2,\"origin_id\":7,\"origin_slot\":0,"          \
    "\"target_id\":-20,\"target_slot\":0,\"type\":\"STRING\"}]}]}"

static void test_subgraph(void **state) {
    (void)state;
    converts("{\"nodes\":[{\"id\":1,\"type\":\"PrimitiveString\",\"widgets_values\":[\"x\"]},"
             "{\"id\":2,\"type\":\"s-1\",\"inputs\":[{\"name\":\"text\",\"type\":\"STRING\","
             "\"link\":5}]},"
             "{\"id\":3,\"type\":\"PreviewAny\",\"inputs\":[{\"name\":\"source\",\"type\":\"*\","
             "\"link\":6}]}],\"links\":[[5,1,0,2,0,\"STRING\"],[6,2,0,3,0,\"STRING\"]]," SUBGRAPH
             "}",
             "{\"1\":{\"inputs\":{\"value\":\"x\"},\"class_type\":\"PrimitiveString\"},"
             "\"3\":{\"inputs\":{\"source\":[\"2:7\",0]},\"class_type\":\"PreviewAny\"},"
             "\"2:7\":{\"inputs\":{\"string\":[\"1\",0],\"mode\":\"Both\"},\"class_type\":"
             "\"StringTrim\"}}");
    /* without a link the widget inside has its own value */
    converts("{\"nodes\":[{\"id\":2,\"type\":\"s-1\",\"inputs\":[{\"name\":\"text\",\"type\":"
             "\"STRING\",\"link\":null}]}],\"links\":[]," SUBGRAPH "}",
             "{\"2:7\":{\"inputs\":{\"string\":\"inner\",\"mode\":\"Both\"},\"class_type\":"
             "\"StringTrim\"}}");
    /* switched off as a whole */
    converts("{\"nodes\":[{\"id\":2,\"type\":\"s-1\",\"mode\":2}],\"links\":[]," SUBGRAPH "}",
             "{}");
}

static void test_titles(void **state) {
    (void)state;
    value *got;
    err e;
    const value *w = rig_parse(mem, "{\"nodes\":[{\"id\":1,\"type\":\"EmptyLatentImage\",\"title\":"
                                    "\"Size\"},{\"id\":2,\"type\":\"CLIPTextEncode\"},"
                                    "{\"id\":3,\"type\":\"Strange\"}],\"links\":[]}");
    assert_true(flow_is_workflow(w));
    assert_int_equal(flow_convert(w, mem, &got, &e), ERR_OK);
    RIG_EQUAL(mem, rig_get(rig_get(rig_get(got, "1"), "_meta"), "title"),
              value_str(mem, STR("Size")));
    RIG_EQUAL(mem, rig_get(rig_get(rig_get(got, "3"), "_meta"), "title"),
              value_str(mem, STR("Strange")));
    assert_false(flow_is_workflow(rig_parse(mem, "{\"1\":{\"class_type\":\"X\"}}")));
}

static void test_hostile(void **state) {
    (void)state;
    static const char *const refused[] = {
        "{}",
        "[]",
        "{\"nodes\":3,\"links\":[]}",
        "{\"nodes\":[3],\"links\":[]}",
        "{\"nodes\":[{\"type\":\"X\"}],\"links\":[]}",
        "{\"nodes\":[{\"id\":1}],\"links\":[]}",
        /* a subgraph inside itself */
        "{\"nodes\":[{\"id\":1,\"type\":\"s\"}],\"links\":[],\"definitions\":{\"subgraphs\":[{"
        "\"id\":\"s\",\"nodes\":[{\"id\":1,\"type\":\"s\"}],\"links\":[]}]}}",
        "{\"nodes\":[{\"id\":1,\"type\":\"s\"}],\"links\":[],\"definitions\":{\"subgraphs\":[{"
        "\"id\":\"s\",\"nodes\":[{\"id\":1,\"type\":\"s\"},{\"id\":2,\"type\":\"s\"},{\"id\":3,"
        "\"type\":\"s\"}],\"links\":[]}]}}",
    };
    static const char *const taken[] = {
        "{\"nodes\":[],\"links\":[]}",
        "{\"nodes\":[]}",
        "{\"nodes\":[{\"id\":1,\"type\":\"X\",\"inputs\":3,\"widgets_values\":\"x\"}],\"links\":"
        "[3,[],[1],{}]}",
        /* reroutes in a ring */
        "{\"nodes\":[{\"id\":1,\"type\":\"Reroute\",\"inputs\":[{\"link\":1}]},{\"id\":2,\"type\":"
        "\"Reroute\",\"inputs\":[{\"link\":2}]},{\"id\":3,\"type\":\"PreviewAny\",\"inputs\":[{"
        "\"name\":\"source\",\"link\":1}]}],\"links\":[[1,2,0,1,0,\"*\"],[2,1,0,2,0,\"*\"]]}",
    };
    value *got;
    err e;
    for (size_t i = 0; i < COUNT_OF(refused); i++)
        if (!flow_convert(rig_parse(mem, refused[i]), mem, &got, &e)) fail_msg("%s", refused[i]);
    for (size_t i = 0; i < COUNT_OF(taken); i++)
        if (flow_convert(rig_parse(mem, taken[i]), mem, &got, &e)) fail_msg("%s", taken[i]);
}

static int setup(void **state) {
    (void)state;
    mem = arena_create(0);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    arena_destroy(&mem);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_workflow),
        cmocka_unit_test(test_virtual_nodes),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_subgraph),
        cmocka_unit_test(test_titles),
        cmocka_unit_test(test_hostile),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
