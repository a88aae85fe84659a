/* AVX-512 (F, BW, DQ, VL: every server processor that has it at all). */
#if defined(__x86_64__)
#define LANES 16
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt")))
typedef float vector __attribute__((vector_size(64), aligned(4), may_alias));

#include "avx512.h"

TARGET static inline void vector_sums(vector a, vector b, vector c, vector d, float *sums)
{
    _mm_storeu_ps(sums, four_sums((__m512)a, (__m512)b, (__m512)c, (__m512)d));
}

#include "vector_kernels.h"

/* One token reads the lists once, from memory; what the processor foresees by itself ends with a
 * page. A hint beyond the end does no harm. */
enum { AHEAD = 1024 };

/* A block of 64 inputs is four registers, and so are, spread by their bits, a row's values. */
TARGET static void one_token(const sparse_list *w, const float *values, const float *bias,
                             const float *x, float *y, int64_t first_row, int64_t last_row)
{
    const float *end = values + w->start[blocks(w->cols) * w->rows];
    __m512 sums[FEW_ROWS];
    for (int64_t row = first_row; row < last_row; row++)
        sums[row - first_row] = _mm512_setzero_ps();
    for (int64_t block = 0; block < blocks(w->cols); block++) {
        const uint64_t *bits = w->bits + block * w->rows;
        const float *value = values + w->start[block * w->rows + first_row];
        const int64_t width = least(BLOCK, w->cols - block * BLOCK);
        __m512 in[4];
        for (int i = 0; i < 4; i++) {
            const __mmask16 there = first_lanes(width - 16 * i);
            in[i] = _mm512_maskz_loadu_ps(there, x + block * BLOCK + 16 * i);
        }
        for (int64_t row = first_row; row < last_row; row++) {
            __m512 sum = sums[row - first_row];
            __builtin_prefetch(value + AHEAD);
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                const __mmask16 there = (__mmask16)(bits[row] >> 16 * i);
                /* Expanding from memory is one instruction, and a slow one on some processors. */
                const __m512 next = end - value >= 16
                                        ? _mm512_loadu_ps(value)
                                        : _mm512_maskz_loadu_ps(first_lanes(end - value), value);
                sum = _mm512_fmadd_ps(_mm512_maskz_expand_ps(there, next), in[i], sum);
                value += _mm_popcnt_u32(there);
            }
            sums[row - first_row] = sum;
        }
    }
    for (int64_t row = first_row; row < last_row; row++)
        y[row] = _mm512_reduce_add_ps(sums[row - first_row]) + (bias ? bias[row] : 0.0f);
}

TARGET static inline __m512 load_row(const void *x, int bf16, int64_t at, __mmask16 there)
{
    if (!bf16)
        return _mm512_maskz_loadu_ps(there, (const float *)x + at);
    const __m256i half = _mm256_maskz_loadu_epi16(there, (const uint16_t *)x + at);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

/* bf16: to the nearest, ties to even. */
TARGET static inline void store_row(void *x, int bf16, int64_t at, __mmask16 there, __m512 row)
{
    if (!bf16) {
        _mm512_mask_storeu_ps((float *)x + at, there, row);
        return;
    }
    const __m512i bits = _mm512_castps_si512(row);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    const __mmask16 nan = _mm512_cmp_ps_mask(row, row, _CMP_UNORD_Q);
    const __m512i half =
        _mm512_mask_mov_epi32(_mm512_srli_epi32(up, 16), nan, _mm512_set1_epi32(0x7fc0));
    _mm256_mask_storeu_epi16((uint16_t *)x + at, there, _mm512_cvtepi32_epi16(half));
}

TARGET static void pack(const void *x, int bf16, int64_t tokens, int64_t features, void *tile)
{
    float *to = tile;
    for (int64_t token = 0; token < TILE; token += 16)
        for (int64_t feature = 0; feature < features; feature += 16) {
            const __mmask16 there = first_lanes(features - feature);
            __m512 row[16];
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++)
                row[i] = load_row(x, bf16, (token + i) * features + feature,
                                  token + i < tokens ? there : 0);
            transpose(row);
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++)
                if (feature + i < features)
                    _mm512_storeu_ps(to + (feature + i) * TILE + token, row[i]);
        }
}

TARGET static void unpack(const void *tile, int bf16, int64_t tokens, int64_t features, void *x)
{
    const float *from = tile;
    for (int64_t token = 0; token < tokens; token += 16)
        for (int64_t feature = 0; feature < features; feature += 16) {
            const __mmask16 there = first_lanes(features - feature);
            __m512 row[16];
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++)
                row[i] = feature + i < features
                             ? _mm512_loadu_ps(from + (feature + i) * TILE + token)
                             : _mm512_setzero_ps();
            transpose(row);
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++)
                if (token + i < tokens)
                    store_row(x, bf16, (token + i) * features + feature, there, row[i]);
        }
}

const sparse_kernels avx512_kernels = FP32_KERNELS;
#endif
