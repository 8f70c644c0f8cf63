/* Finds a family by name. */
#include "llm/arch/arch.h"
#include "base/buf.h"

static const llm_arch *const families[] = {
    &llm_arch_llama,  &llm_arch_qwen2, &llm_arch_qwen3, &llm_arch_gemma,      &llm_arch_gemma2,
    &llm_arch_gemma3, &llm_arch_phi3,  &llm_arch_bert,  &llm_arch_nomic_bert,
};

err_code llm_arch_find(str name, const llm_arch **ret, err *e) {
    buf known = {0};
    for (size_t i = 0; i < COUNT_OF(families); i++) {
        for (const char *const *n = families[i]->names; *n; n++) {
            if (str_eq(name, str_from(*n))) {
                buf_finish(&known);
                *ret = families[i];
                return ERR_OK;
            }
            buf_putf(&known, "%s%s", known.len ? ", " : "", *n);
        }
    }
    str shown = str_sub(name, 0, 64);
    err_set(e, ERR_UNSUPPORTED,
            "model architecture \"" STR_FMT "\" is not known; this build runs " STR_FMT,
            STR_ARG(shown), (int)known.len, known.ptr);
    buf_finish(&known);
    return ERR_UNSUPPORTED;
}
