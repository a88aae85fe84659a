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

typedef struct {
    void *logits;
    const int64_t *targets;
    float *losses;
    int64_t words;
    int bf16;
} task;

/* e^x for x up to 0; below the least number it is 0, and NaN stays. */
TARGET INLINE __m512 exponential(__m512 x)
{
    return power_of_two(
        _mm512_max_ps(_mm512_set1_ps(-200), _mm512_mul_ps(x, _mm512_set1_ps(LOG2_E))));
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
        tops = _mm512_mask_max_ps(tops, mask, tops, load_numbers(row, bf16, at, mask));
    }
    const __m512 top = _mm512_set1_ps(_mm512_reduce_max_ps(tops));
    __m512 sums = _mm512_setzero_ps();
    for (int64_t at = 0; at < words; at += LANES) {
        const __mmask16 mask = first_lanes(words - at);
        const __m512 numbers = exponential(_mm512_sub_ps(load_numbers(row, bf16, at, mask), top));
        sums = _mm512_mask_add_ps(sums, mask, sums, numbers);
    }
    const float sum = _mm512_reduce_add_ps(sums);
    const __m512 share = _mm512_set1_ps(1 / sum);
    const __m512 above = _mm512_sub_ps(load_numbers(row, bf16, target, 1), top);
    t->losses[item] = logf(sum) - _mm512_cvtss_f32(above);
    for (int64_t at = 0; at < words; at += LANES) {
        const __mmask16 mask = first_lanes(words - at);
        const __m512 numbers = exponential(_mm512_sub_ps(load_numbers(row, bf16, at, mask), top));
        store_numbers(row, bf16, at, mask, _mm512_mul_ps(numbers, share));
    }
    store_numbers(row, bf16, target, 1, _mm512_fmsub_ps(exponential(above), share, _mm512_set1_ps(1)));
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
