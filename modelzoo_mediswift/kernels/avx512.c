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

TARGET static inline float vector_sum(vector a) { return _mm512_reduce_add_ps((__m512)a); }

#include "vector_kernels.h"

/* Each number is read once, from memory, and what the processor foresees by itself ends with a
 * page. Hints two pages ahead have its address looked up in time as well: a quarter less time than
 * with those of a quarter page. Beyond the end they do no harm. */
enum { AHEAD = 128, TOGETHER = 4 }; /* steps, tokens */

/* `tokens` is a constant where this is expanded: all sums stay in registers. */
TARGET static inline __attribute__((always_inline)) void
multiply_tokens(const sliced_matrix *w, __m512 bias, const float *x, float *y, int64_t slice,
                int tokens)
{
    const __mmask16 low = first_lanes(w->cols), high = first_lanes(w->cols - 16);
    const __mmask16 rows = first_lanes(w->rows - slice * SLICE);
    __m512 sums[TOGETHER];
#pragma GCC unroll 4
    for (int t = 0; t < tokens; t++)
        sums[t] = bias;
    for (int64_t step = w->start[slice]; step < w->start[slice + 1]; step++) {
        const float *values = w->values + step * SLICE;
        const uint8_t *place = w->place + step * SLICE;
        const __m512i places = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)place));
        const __m512 value = _mm512_loadu_ps(values);
        __builtin_prefetch(values + AHEAD * SLICE);
        __builtin_prefetch(place + AHEAD * SLICE);
#pragma GCC unroll 4
        for (int t = 0; t < tokens; t++) {
            const float *in = x + t * w->cols + w->window[step];
            const __m512 inputs = _mm512_permutex2var_ps(
                _mm512_maskz_loadu_ps(low, in), places, _mm512_maskz_loadu_ps(high, in + 16));
            sums[t] = _mm512_fmadd_ps(value, inputs, sums[t]);
        }
    }
#pragma GCC unroll 4
    for (int t = 0; t < tokens; t++)
        _mm512_mask_storeu_ps(y + t * w->rows + slice * SLICE, rows, sums[t]);
}

TARGET static void multiply_slice(const sliced_matrix *w, const float *bias, const float *x,
                                  float *y, int64_t tokens, int64_t slice)
{
    const __mmask16 rows = first_lanes(w->rows - slice * SLICE);
    const __m512 initial =
        bias ? _mm512_maskz_loadu_ps(rows, bias + slice * SLICE) : _mm512_setzero_ps();
    int64_t token = 0;
    for (; token + TOGETHER <= tokens; token += TOGETHER)
        multiply_tokens(w, initial, x + token * w->cols, y + token * w->rows, slice, TOGETHER);
    for (; token < tokens; token++)
        multiply_tokens(w, initial, x + token * w->cols, y + token * w->rows, slice, 1);
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
                row[i] = load_numbers(x, bf16, (token + i) * features + feature,
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
                    store_numbers(x, bf16, (token + i) * features + feature, there, row[i]);
        }
}

const sparse_kernels avx512_kernels = FP32_KERNELS;
#endif
