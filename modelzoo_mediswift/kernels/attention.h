/* Causal attention: what its parts share. */
#ifndef ATTENTION_H
#define ATTENTION_H

#include "sparse_linear.h"

/* Of queries, keys, values and results, each [batch][length][heads][width]. */
typedef struct {
    int64_t batch, length, heads, width;
} attention_shape;

typedef struct {
    const attention_shape *shape;
    const void *q, *k, *v, *out, *d_out; /* fp32 or bf16, as are the results */
    void *to_out, *d_q, *d_k, *d_v;
    float *softmax; /* [batch][heads]: the largest score and one over the sum, each [length] */
    int failed;
} attention_task;

/* Each for an item of work: one head of one sequence. */
typedef struct {
    void (*attend)(void *task, int64_t item);
    void (*differentiate)(void *task, int64_t item);
} attention_kernels;

#if defined(__x86_64__)
extern const attention_kernels fp32_attention;
#endif
#ifdef HAS_BF16_KERNELS
extern const attention_kernels bf16_attention;
#endif
#ifdef HAS_AMX_KERNELS
extern const attention_kernels amx_attention;
#endif

#endif
