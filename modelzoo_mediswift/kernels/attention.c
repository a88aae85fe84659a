/* Causal attention, forward and backward, on processors with AVX-512. */
#include "attention.h"
#include "threads.h"

#if defined(__x86_64__)
/* By the numbers of sparse_linear.h, from 2 on; none is asked for that was not compiled:
 * `mediswift_best_instructions` says so. */
static const attention_kernels *attention_by(int instructions)
{
#ifdef HAS_AMX_KERNELS
    if (instructions == 4)
        return &amx_attention;
#endif
#ifdef HAS_BF16_KERNELS
    if (instructions == 3)
        return &bf16_attention;
#endif
    (void)instructions;
    return &fp32_attention;
}

int mediswift_causal_attention(int instructions, int threads, const attention_shape *shape,
                               const void *q, const void *k, const void *v, void *out,
                               float *softmax)
{
    attention_task t = {
        .shape = shape, .q = q, .k = k, .v = v, .to_out = out, .softmax = softmax};
    run_items(threads, shape->batch * shape->heads, attention_by(instructions)->attend, &t);
    return !t.failed;
}

int mediswift_causal_attention_gradients(int instructions, int threads,
                                         const attention_shape *shape, const void *q, const void *k,
                                         const void *v, const void *out, float *softmax,
                                         const void *d_out, void *d_q, void *d_k, void *d_v)
{
    attention_task t = {.shape = shape, .q = q, .k = k, .v = v, .out = out, .softmax = softmax,
                        .d_out = d_out, .d_q = d_q, .d_k = d_k, .d_v = d_v};
    run_items(threads, shape->batch * shape->heads, attention_by(instructions)->differentiate, &t);
    return !t.failed;
}
#endif
