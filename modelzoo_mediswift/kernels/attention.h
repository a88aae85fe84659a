/* Causal attention; only where HAS_BF16_KERNELS (sparse_linear.h) is defined. */
#ifndef ATTENTION_H
#define ATTENTION_H

#include <stdint.h>

/* Of queries, keys, values and results, each [batch][length][heads][width]. */
typedef struct {
    int64_t batch, length, heads, width;
} attention_shape;

#endif
