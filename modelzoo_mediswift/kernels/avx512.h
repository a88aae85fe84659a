/* Vectors of 16 numbers of 32 bits: what the fp32 and the bf16 kernels share.
 *
 * Before inclusion: TARGET, a function attribute. */
#ifndef AVX512_H
#define AVX512_H

#include <immintrin.h>
#include <stdint.h>

static const float LOG2_E = 1.44269504f;

/* A comparison and not a shift: where counts vary, a branch for 16 and more is guessed wrong. */
TARGET static inline __mmask16 first_lanes(int64_t count)
{
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    return _mm512_cmpgt_epi32_mask(_mm512_set1_epi32((int)count), lane);
}

TARGET static inline __m512 pair_sums(__m512 a, __m512 b)
{
    return _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
}

/* The sums of four vectors. */
TARGET static inline __m128 four_sums(__m512 a, __m512 b, __m512 c, __m512 d)
{
    const __m512d ab = _mm512_castps_pd(pair_sums(a, b));
    const __m512d cd = _mm512_castps_pd(pair_sums(c, d));
    const __m512 quarters = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)),
                                          _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)));
    const __m256 halves = _mm256_add_ps(_mm512_castps512_ps256(quarters),
                                        _mm512_extractf32x8_ps(quarters, 1));
    return _mm_add_ps(_mm256_castps256_ps128(halves), _mm256_extractf128_ps(halves, 1));
}

/* Exchanges, in four steps, the squares of 1, 2, 4 and 8 beside the diagonal. */
TARGET static inline __attribute__((always_inline)) void transpose(__m512 row[16])
{
#pragma GCC unroll 4
    for (int size = 1; size < 16; size *= 2) {
        const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        const __mmask16 second = _mm512_test_epi32_mask(lane, _mm512_set1_epi32(size));
        const __m512i down = _mm512_mask_add_epi32(lane, second, lane, _mm512_set1_epi32(16 - size));
        const __m512i up = _mm512_mask_add_epi32(_mm512_add_epi32(lane, _mm512_set1_epi32(size)),
                                                 second, lane, _mm512_set1_epi32(16));
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            if (!(i & size)) {
                const __m512 one = row[i], other = row[i + size];
                row[i] = _mm512_permutex2var_ps(one, down, other);
                row[i + size] = _mm512_permutex2var_ps(one, up, other);
            }
    }
}

/* Sixteen numbers, fp32 or bf16, from number `at` on; zero where the mask has no bit. */
TARGET static inline __m512 load_numbers(const void *x, int bf16, int64_t at, __mmask16 mask)
{
    if (!bf16)
        return _mm512_maskz_loadu_ps(mask, (const float *)x + at);
    const __m256i half = _mm256_maskz_loadu_epi16(mask, (const uint16_t *)x + at);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

/* The reverse. bf16: to the nearest, ties to even. */
TARGET static inline void store_numbers(void *x, int bf16, int64_t at, __mmask16 mask,
                                        __m512 numbers)
{
    if (!bf16) {
        _mm512_mask_storeu_ps((float *)x + at, mask, numbers);
        return;
    }
    const __m512i bits = _mm512_castps_si512(numbers);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __mmask16 nan = _mm512_cmp_ps_mask(numbers, numbers, _CMP_UNORD_Q);
    const __m512i half =
        _mm512_mask_mov_epi32(_mm512_srli_epi32(up, 16), nan, _mm512_set1_epi32(0x7fc0));
    _mm256_mask_storeu_epi16((uint16_t *)x + at, mask, _mm512_cvtepi32_epi16(half));
}

/* 2^x, the nearest float or the next one: for what is beyond a whole number the polynomial of the
 * sixth degree with the least relative error, 2e-9 before rounding. */
TARGET static inline __m512 power_of_two(__m512 x)
{
    const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 beyond = _mm512_sub_ps(x, whole);
    __m512 sum = _mm512_set1_ps(1.5353362e-4f);
    sum = _mm512_fmadd_ps(sum, beyond, _mm512_set1_ps(1.3398875e-3f));
    sum = _mm512_fmadd_ps(sum, beyond, _mm512_set1_ps(9.618437e-3f));
    sum = _mm512_fmadd_ps(sum, beyond, _mm512_set1_ps(5.5503324e-2f));
    sum = _mm512_fmadd_ps(sum, beyond, _mm512_set1_ps(0.24022648f));
    sum = _mm512_fmadd_ps(sum, beyond, _mm512_set1_ps(0.6931472f));
    sum = _mm512_fmadd_ps(sum, beyond, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(sum, whole);
}

#endif
