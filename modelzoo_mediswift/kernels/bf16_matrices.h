/* Products of bf16 matrices, by the instruction that adds two of them to each of sixteen fp32 sums
 * (AVX512_BF16): what matrices.h takes for them. */
#ifndef BF16_MATRICES_H
#define BF16_MATRICES_H

#include "avx512_bf16.h"

typedef bf16 number;
typedef pair word;
typedef __m512bh vector;

enum {
    IN_WORD = 2,
    LANES = 16,
    ROWS = 4,
    VECTORS = 4,
    SIDE = 128
};

TARGET INLINE vector load_words(const word *from) { return (vector)_mm512_loadu_si512(from); }
TARGET INLINE vector repeat(word each) { return (vector)_mm512_set1_epi32(each); }

TARGET INLINE __m512 add_products(__m512 sums, vector a, vector b)
{
    return _mm512_dpbf16_ps(sums, a, b);
}

TARGET INLINE vector load_first(const number *from, int64_t count)
{
    const __mmask32 there = (__mmask32)first_lanes(count) |
                            (__mmask32)first_lanes(count - LANES) << LANES;
    return (vector)_mm512_maskz_loadu_epi16(there, from);
}

TARGET INLINE void store_numbers(number *to, __m512 sums)
{
    _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh(sums));
}

TARGET INLINE void store_first(number *to, int64_t count, __m512 sums)
{
    _mm256_mask_storeu_epi16(to, first_lanes(count), (__m256i)_mm512_cvtneps_pbh(sums));
}

TARGET static const word *stack_rows(const number *from, int64_t row, int64_t rows, int64_t width,
                                     word *to)
{
    __m512i low = _mm512_setzero_si512();
    for (int i = LANES - 1; i >= 0; i--) /* 0, 32, 1, 33, ... */
        low = _mm512_alignr_epi32(low, _mm512_set1_epi32(i | (i + 32) << 16), 15);
    const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(LANES));
    for (int64_t r = 0; r < rows; r += 2)
        for (int64_t c = 0; c < width; c += 2 * LANES) {
            const __m512i a = _mm512_loadu_si512(from + r * row + c);
            const __m512i b = _mm512_loadu_si512(from + (r + 1) * row + c);
            word *at = to + r / 2 * row + c;
            _mm512_storeu_si512(at, _mm512_permutex2var_epi16(a, low, b));
            _mm512_storeu_si512(at + LANES, _mm512_permutex2var_epi16(a, high, b));
        }
    return to;
}

#include "matrices.h"

#endif
