/* AVX2 with FMA. */
#if defined(__x86_64__)
#include <immintrin.h>

#define LANES 8
#define TARGET __attribute__((target("avx2,fma")))
typedef float vector __attribute__((vector_size(32), aligned(4), may_alias));

TARGET static inline void vector_sums(vector a, vector b, vector c, vector d, float *sums)
{
    const __m256 halves = _mm256_hadd_ps(_mm256_hadd_ps((__m256)a, (__m256)b),
                                         _mm256_hadd_ps((__m256)c, (__m256)d));
    _mm_storeu_ps(sums, _mm_add_ps(_mm256_castps256_ps128(halves),
                                   _mm256_extractf128_ps(halves, 1)));
}

TARGET static inline float vector_sum(vector a)
{
    const __m128 half = _mm_add_ps(_mm256_castps256_ps128((__m256)a),
                                   _mm256_extractf128_ps((__m256)a, 1));
    const __m128 quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)));
}

#include "vector_kernels.h"

#include "scalar_kernels.h"

const sparse_kernels avx2_kernels = FP32_KERNELS;
#endif
