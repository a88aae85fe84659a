/* Vectors of four, as every 64-bit processor has; the compiler chooses the instructions. */
#define LANES 4
#define TARGET
typedef float vector __attribute__((vector_size(16), aligned(4), may_alias));

static inline void vector_sums(vector a, vector b, vector c, vector d, float *sums)
{
    sums[0] = (a[0] + a[1]) + (a[2] + a[3]);
    sums[1] = (b[0] + b[1]) + (b[2] + b[3]);
    sums[2] = (c[0] + c[1]) + (c[2] + c[3]);
    sums[3] = (d[0] + d[1]) + (d[2] + d[3]);
}

static inline float vector_sum(vector a) { return (a[0] + a[1]) + (a[2] + a[3]); }

#include "vector_kernels.h"

#include "scalar_kernels.h"

const sparse_kernels portable_kernels = FP32_KERNELS;
