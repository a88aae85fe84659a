/* Causal attention, forward and backward, on processors with AVX-512. */
#include "attention.h"
#include "threads.h"

#if defined(__x86_64__)
static const attention_kernels *kernels_of(int bf16)
{
#ifdef HAS_BF16_KERNELS
    if (bf16)
        return &bf16_attention;
#else
    (void)bf16; /* not asked for: `mediswift_best_instructions` says that there are none */
#endif
    return &fp32_attention;
}

int mediswift_causal_attention(int bf16, int threads, const attention_shape *shape, const void *q,
                               const void *k, const void *v, void *out, float *softmax)
{
    attention_task t = {
        .shape = shape, .q = q, .k = k, .v = v, .to_out = out, .softmax = softmax};
    run_items(threads, shape->batch * shape->heads, kernels_of(bf16)->attend, &t);
    return !t.failed;
}

int mediswift_causal_attention_gradients(int bf16, int threads, const attention_shape *shape,
                                         const void *q, const void *k, const void *v,
                                         const void *out, float *softmax, const void *d_out,
                                         void *d_q, void *d_k, void *d_v)
{
    attention_task t = {.shape = shape, .q = q, .k = k, .v = v, .out = out, .softmax = softmax,
                        .d_out = d_out, .d_q = d_q, .d_k = d_k, .d_v = d_v};
    run_items(threads, shape->batch * shape->heads, kernels_of(bf16)->differentiate, &t);
    return !t.failed;
}
#endif
