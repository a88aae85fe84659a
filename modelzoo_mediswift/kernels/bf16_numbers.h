/* Matrices of bf16 numbers: what matrices.h takes for them. */
#ifndef BF16_NUMBERS_H
#define BF16_NUMBERS_H

#include "avx512_bf16.h"

typedef bf16 number;
typedef pair word;
typedef __m512bh vector;

enum {
    IN_WORD = 2,
    LANES = 16
};

/* 0, 16, 1, 17, ...: two vectors' numbers by words. */
TARGET INLINE __m512i by_words(void)
{
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    return _mm512_or_si512(lane, _mm512_add_epi32(_mm512_slli_epi32(lane, 16),
                                                  _mm512_set1_epi32(16 << 16)));
}

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

TARGET INLINE void store_first(number *to, int64_t count, __m512 sums)
{
    _mm256_mask_storeu_epi16(to, first_lanes(count), (__m256i)_mm512_cvtneps_pbh(sums));
}

TARGET INLINE void store_rows(number *to, int64_t row, const __m512 *sums)
{
    const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(sums[1], sums[0]);
    _mm256_storeu_si256((__m256i *)to, _mm512_castsi512_si256(both));
    _mm256_storeu_si256((__m256i *)(to + row), _mm512_extracti64x4_epi64(both, 1));
}

TARGET INLINE void store_words(word *to, const __m512 *sums)
{
    const __m512i both = (__m512i)_mm512_cvtne2ps_pbh(sums[1], sums[0]);
    _mm512_storeu_si512(to, _mm512_permutexvar_epi16(by_words(), both));
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
