/* The cross-entropy of rows of logits, and its gradient in their place, with AVX-512.
 *
 * A row stays in the second-level cache while it is read three times. Exponentials are computed
 * twice, which takes less time than keeping them would. */
#if defined(__x86_64__)
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl")))
#define INLINE static inline __attribute__((always_inline))

#include "avx512.h"
#include "threads.h"

#include <math.h>
#include <string.h>

enum { LANES = 16 };
static const float LOG2_E = 1.44269504f;

typedef struct {
    void *logits;
    const int64_t *targets;
    float *losses;
    int64_t words;
    int bf16;
} task;

/* Sixteen numbers from number `at` on, and back; those without a bit in the mask are left out. */
TARGET INLINE __m512 load(const void *row, int64_t at, int bf16, __mmask16 mask)
{
    if (!bf16)
        return _mm512_maskz_loadu_ps(mask, (const float *)row + at);
    const __m256i half = _mm256_maskz_loadu_epi16(mask, (const uint16_t *)row + at);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

TARGET INLINE void store(void *row, int64_t at, int bf16, __mmask16 mask, __m512 numbers)
{
    if (!bf16) {
        _mm512_mask_storeu_ps((float *)row + at, mask, numbers);
        return;
    }
    const __m512i bits = _mm512_castps_si512(numbers); /* to the nearest, of two to the even one */
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i up = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
    const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, up), 16);
    _mm256_mask_storeu_epi16((uint16_t *)row + at, mask, _mm512_cvtepi32_epi16(rounded));
}

/* e^x for x up to 0: 2^y by the polynomial of the sixth degree with the least relative error (2e-9)
 * for the part of y that is not whole. Below the least number it is 0; NaN stays. */
TARGET INLINE __m512 exponential(__m512 x)
{
    const __m512 y = _mm512_max_ps(_mm512_set1_ps(-200), _mm512_mul_ps(x, _mm512_set1_ps(LOG2_E)));
    const __m512 whole = _mm512_roundscale_ps(y, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 part = _mm512_sub_ps(y, whole);
    __m512 sum = _mm512_set1_ps(1.5353362e-4f);
    sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(1.3398875e-3f));
    sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(9.618437e-3f));
    sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(5.5503324e-2f));
    sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(0.24022648f));
    sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(0.6931472f));
    sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(sum, whole);
}

TARGET INLINE void differentiate(const task *t, int64_t item, int bf16)
{
    const int64_t words = t->words, target = t->targets[item];
    void *row = (char *)t->logits + item * words * (bf16 ? 2 : 4);
    if (target < 0) {
        memset(row, 0, (size_t)(words * (bf16 ? 2 : 4)));
        t->losses[item] = 0;
        return;
    }
    __m512 tops = _mm512_set1_ps(-INFINITY);
    for (int64_t at = 0; at < words; at += LANES) {
        const __mmask16 mask = first_lanes(words - at);
        tops = _mm512_mask_max_ps(tops, mask, tops, load(row, at, bf16, mask));
    }
    const __m512 top = _mm512_set1_ps(_mm512_reduce_max_ps(tops));
    __m512 sums = _mm512_setzero_ps();
    for (int64_t at = 0; at < words; at += LANES) {
        const __mmask16 mask = first_lanes(words - at);
        const __m512 numbers = exponential(_mm512_sub_ps(load(row, at, bf16, mask), top));
        sums = _mm512_mask_add_ps(sums, mask, sums, numbers);
    }
    const float sum = _mm512_reduce_add_ps(sums);
    const __m512 share = _mm512_set1_ps(1 / sum);
    const __m512 above = _mm512_sub_ps(load(row, target, bf16, 1), top);
    t->losses[item] = logf(sum) - _mm512_cvtss_f32(above);
    for (int64_t at = 0; at < words; at += LANES) {
        const __mmask16 mask = first_lanes(words - at);
        const __m512 numbers = exponential(_mm512_sub_ps(load(row, at, bf16, mask), top));
        store(row, at, bf16, mask, _mm512_mul_ps(numbers, share));
    }
    store(row, target, bf16, 1, _mm512_fmsub_ps(exponential(above), share, _mm512_set1_ps(1)));
}

TARGET static void differentiate_row(void *what, int64_t item)
{
    const task *t = what;
    if (t->bf16)
        differentiate(t, item, 1);
    else
        differentiate(t, item, 0);
}

/* losses[row] = log(sum of exp(logits)) - logits[target], and the logits [rows][words], fp32 or
 * bf16, become its gradient; both are zero where the target is negative. */
void mediswift_cross_entropy(int threads, int bf16, void *logits, int64_t rows, int64_t words,
                             const int64_t *targets, float *losses)
{
    task t = {logits, targets, losses, words, bf16};
    run_items(threads, rows, differentiate_row, &t);
}
#endif
