/* Products of fp32 matrices by AVX-512. */
#ifndef FP32_MATRICES_H
#define FP32_MATRICES_H

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#define INLINE static inline __attribute__((always_inline))

#include "avx512.h"

typedef float number;
typedef float word;
typedef __m512 vector;

enum {
    IN_WORD = 1,
    LANES = 16,
    ROWS = 8,
    VECTORS = 2,
    DEPTH = 32, /* more would lose digits that PyTorch's sums keep */
    SIDE = 64 /* a block of keys and one of values, 32 KiB of 64 features, stay in the L1 cache */
};

TARGET INLINE vector load_words(const word *from) { return _mm512_loadu_ps(from); }
TARGET INLINE vector repeat(word each) { return _mm512_set1_ps(each); }

TARGET INLINE __m512 add_products(__m512 sums, vector a, vector b)
{
    return _mm512_fmadd_ps(a, b, sums);
}

TARGET INLINE vector load_first(const number *from, int64_t count)
{
    return _mm512_maskz_loadu_ps(first_lanes(count), from);
}

TARGET INLINE void store_first(number *to, int64_t count, __m512 sums)
{
    _mm512_mask_storeu_ps(to, first_lanes(count), sums);
}

TARGET INLINE void store_rows(number *to, int64_t row, const __m512 *sums)
{
    (void)row;
    _mm512_storeu_ps(to, sums[0]);
}

TARGET INLINE void store_words(word *to, const __m512 *sums) { _mm512_storeu_ps(to, sums[0]); }

INLINE const word *stack_rows(const number *from, int64_t row, int64_t rows, int64_t width, word *to)
{
    (void)row, (void)rows, (void)width, (void)to;
    return from;
}

#include "matrices.h"
#include "vector_products.h"

#endif
