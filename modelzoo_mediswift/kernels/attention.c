/* Causal attention in bf16, and its gradients, by the instruction that adds two products of bf16
 * numbers to each of sixteen fp32 sums (AVX512_BF16).
 *
 * Scores are computed for blocks of SIDE queries by SIDE keys and forgotten; those that a causal
 * mask hides are not computed, but for a few beside the diagonal. The largest score of a query so
 * far, and the sum of exponentials, are kept and corrected from block to block; the gradients
 * compute scores anew from the logarithm of that sum (FlashAttention-2, Dao 2023). Scores, softmax
 * and all sums are fp32; probabilities and the gradients of scores are rounded to bf16 where they
 * are multiplied.
 *
 * An item of work is one head of one sequence, so that no sum depends on the number of threads.
 */
#include "attention.h"
#include "sparse_linear.h"
#include "threads.h"

#ifdef HAS_BF16_KERNELS
#include "bf16_matrices.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 128 };
static const float FAR = 1e30f; /* beyond any score, and finite: differences stay numbers */
static const float LOG2_E = 1.44269504f;

static int64_t up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

typedef struct {
    const attention_shape *shape;
    const bf16 *q, *k, *v, *out, *d_out;
    bf16 *to_out, *d_q, *d_k, *d_v;
    float *log_sums; /* [batch][heads][length], of two's powers */
    int failed;
} task;

/* --- The softmax. */

/* 2^x to a few units of the last place: Taylor's series for the part that is not whole. */
TARGET INLINE __m512 power_of_two(__m512 x)
{
    const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 part = _mm512_mul_ps(_mm512_sub_ps(x, whole), _mm512_set1_ps(0.6931472f));
    __m512 sum = _mm512_set1_ps(1.0f / 720);
    sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(1.0f / 120));
    sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(1.0f / 24));
    sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(1.0f / 6));
    sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(0.5f));
    sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(1.0f));
    sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(sum, whole);
}

/* What a query knows of the keys so far: the largest score, the sum of exponentials beside it, and
 * the values' sum with those weights. */
typedef struct {
    float largest, sum;
    float *values; /* [width] */
} seen_keys;

/* One query's scores of a block to probabilities up to a factor, zero from `there` on; `scale` is
 * that of scores as exponents of two. */
TARGET INLINE void add_scores(const float *scores, int64_t columns, int64_t there, float scale,
                              seen_keys *seen, int64_t width, bf16 *probabilities)
{
    __m512 top = _mm512_set1_ps(seen->largest);
    for (int64_t c = 0; c < columns; c += LANES)
        top = _mm512_mask_max_ps(top, first_lanes(there - c), top, _mm512_loadu_ps(scores + c));
    const float largest = _mm512_reduce_max_ps(top);
    __m512 sum = _mm512_setzero_ps();
    for (int64_t c = 0; c < columns; c += LANES) {
        const __m512 above = _mm512_sub_ps(_mm512_loadu_ps(scores + c), _mm512_set1_ps(largest));
        const __m512 p = _mm512_maskz_mov_ps(
            first_lanes(there - c), power_of_two(_mm512_mul_ps(above, _mm512_set1_ps(scale))));
        sum = _mm512_add_ps(sum, p);
        _mm256_storeu_si256((__m256i *)(probabilities + c), (__m256i)_mm512_cvtneps_pbh(p));
    }
    const float less = exp2f((seen->largest - largest) * scale);
    if (less != 1.0f)
        for (int64_t c = 0; c < width; c += LANES)
            _mm512_storeu_ps(seen->values + c, _mm512_mul_ps(_mm512_loadu_ps(seen->values + c),
                                                             _mm512_set1_ps(less)));
    seen->largest = largest;
    seen->sum = seen->sum * less + _mm512_reduce_add_ps(sum);
}

/* --- One head. */

typedef struct {
    int64_t length, width; /* padded, to a multiple of LANES and of 2 * LANES */
    int64_t tokens;        /* that there are */
    int64_t first;         /* number of the head's first element */
    int64_t row;           /* from one token to the next */
    float scale;           /* of scores */
} head;

static head head_of(const attention_shape *shape, int64_t item)
{
    const int64_t row = shape->heads * shape->width;
    return (head){.length = up(shape->length, LANES),
                  .width = up(shape->width, 2 * LANES),
                  .tokens = shape->length,
                  .first = item / shape->heads * shape->length * row +
                           item % shape->heads * shape->width,
                  .row = row,
                  .scale = 1.0f / sqrtf((float)shape->width)};
}

/* Room for `count` numbers of 4 bytes in the scratch memory. */
static void *take(char **scratch, int64_t count)
{
    void *taken = *scratch;
    *scratch += up(count * 4, 64);
    return taken;
}

static char *scratch_of(task *t, int64_t bytes)
{
    char *scratch = aligned_alloc(64, (size_t)up(bytes, 64));
    if (!scratch)
        t->failed = 1;
    return scratch;
}

/* `count` rows of a head, in `padded` rows of `width` numbers: zero beyond its own. */
static void copy_rows(const attention_shape *shape, const bf16 *from, int64_t count, int64_t padded,
                      int64_t width, bf16 *to)
{
    memset(to, 0, (size_t)(padded * width) * sizeof(bf16));
    for (int64_t row = 0; row < count; row++)
        memcpy(to + row * width, from + row * shape->heads * shape->width,
               (size_t)shape->width * sizeof(bf16));
}

/* A matrix of a head's tokens as pairs of features, [block of SIDE tokens][width / 2][SIDE], and as
 * pairs of tokens, [length / 2][width]; either may be NULL. */
static void lay_out(const task *t, const head *h, const bf16 *matrix, bf16 *rows, pair *of_features,
                    pair *of_tokens)
{
    for (int64_t at = 0; at < h->length; at += SIDE) {
        const int64_t padded = least(SIDE, h->length - at);
        copy_rows(t->shape, matrix + h->first + at * h->row, least(SIDE, h->tokens - at), padded,
                  h->width, rows);
        if (of_features)
            turn((const pair *)rows, h->width / 2, padded, h->width / 2,
                 of_features + at * h->width / 2, SIDE);
        if (of_tokens)
            interleave(rows, h->width, padded, h->width, of_tokens + at / 2 * h->width, h->width);
    }
}

TARGET static void attend(void *what, int64_t item)
{
    task *t = what;
    const head h = head_of(t->shape, item);
    const int64_t width = h.width, half = width / 2;
    char *scratch = scratch_of(t, 4 * (up(h.length, SIDE) * width + 2 * SIDE * width) + 256);
    if (!scratch)
        return;
    char *rest = scratch;
    pair *keys = take(&rest, up(h.length, SIDE) * half), *values = take(&rest, h.length * half);
    bf16 *rows = take(&rest, SIDE * half);
    float *sums = take(&rest, SIDE * width);
    lay_out(t, &h, t->k, rows, keys, NULL);
    lay_out(t, &h, t->v, rows, NULL, values);

    for (int64_t query = 0; query < h.length; query += SIDE) {
        const int64_t queries = least(SIDE, h.length - query);
        seen_keys seen[SIDE];
        copy_rows(t->shape, t->q + h.first + query * h.row, least(SIDE, h.tokens - query), queries,
                  width, rows);
        memset(sums, 0, (size_t)(queries * width) * sizeof(float));
        for (int64_t i = 0; i < queries; i++)
            seen[i] = (seen_keys){-FAR, 0.0f, sums + i * width};
        for (int64_t key = 0; key <= query; key += SIDE)
            for (int64_t i = 0; i < queries; i += ROWS) {
                float scores[ROWS * SIDE];
                bf16 probabilities[ROWS * SIDE];
                const int diagonal = key == query;
                const int64_t columns = diagonal ? up(i + ROWS, LANES) : SIDE;
                multiply_rows(rows + i * width, half, keys + key * half, SIDE, half, scores, SIDE,
                              columns, 0);
                for (int64_t r = 0; r < ROWS; r++)
                    add_scores(scores + r * SIDE, columns, diagonal ? i + r + 1 : SIDE,
                               h.scale * LOG2_E, &seen[i + r], width, probabilities + r * SIDE);
                multiply_rows(probabilities, SIDE / 2, values + key * half, width, columns / 2,
                              sums + i * width, width, width, 1);
            }
        for (int64_t i = 0; i < least(SIDE, h.tokens - query); i++) {
            round_row(seen[i].values, 1.0f / seen[i].sum, t->shape->width,
                      t->to_out + h.first + (query + i) * h.row);
            t->log_sums[item * h.tokens + query + i] =
                seen[i].largest * h.scale * LOG2_E + log2f(seen[i].sum);
        }
    }
    free(scratch);
}

TARGET INLINE float dot(const bf16 *a, const bf16 *b, int64_t count)
{
    __m512 sum = _mm512_setzero_ps();
    for (int64_t c = 0; c < count; c += 2 * LANES) {
        const __mmask32 there = (__mmask32)first_lanes(count - c) |
                                (__mmask32)first_lanes(count - c - LANES) << LANES;
        sum = _mm512_dpbf16_ps(sum, (__m512bh)_mm512_maskz_loadu_epi16(there, a + c),
                               (__m512bh)_mm512_maskz_loadu_epi16(there, b + c));
    }
    return _mm512_reduce_add_ps(sum);
}

/* One key's scores and gradients of probabilities, by queries, to both in bf16, from `first` on;
 * `sees` is the first query that sees the key. */
TARGET INLINE void score_gradients(const float *scores, const float *d_probabilities,
                                   const float *log_sums, const float *means, int64_t first,
                                   int64_t queries, int64_t sees, float scale, bf16 *probabilities,
                                   bf16 *d_scores)
{
    const __m512 factor = _mm512_set1_ps(scale), factor_of_two = _mm512_set1_ps(scale * LOG2_E);
    for (int64_t c = first; c < queries; c += LANES) {
        const __m512 exponent = _mm512_fmsub_ps(_mm512_loadu_ps(scores + c), factor_of_two,
                                                _mm512_loadu_ps(log_sums + c));
        const __mmask16 hidden = first_lanes(sees - c);
        const __m512 p = _mm512_maskz_mov_ps((__mmask16)~hidden, power_of_two(exponent));
        const __m512 d = _mm512_sub_ps(_mm512_loadu_ps(d_probabilities + c),
                                       _mm512_loadu_ps(means + c));
        const __m512 d_score = _mm512_mul_ps(_mm512_mul_ps(p, d), factor);
        _mm256_storeu_si256((__m256i *)(probabilities + c), (__m256i)_mm512_cvtneps_pbh(p));
        _mm256_storeu_si256((__m256i *)(d_scores + c), (__m256i)_mm512_cvtneps_pbh(d_score));
    }
}

TARGET static void differentiate(void *what, int64_t item)
{
    task *t = what;
    const head h = head_of(t->shape, item);
    const int64_t width = h.width, half = width / 2, blocks_long = up(h.length, SIDE);
    char *scratch = scratch_of(t, 4 * (2 * blocks_long * width + h.length * (width + 2) +
                                       SIDE * (4 * width + 3 * SIDE)) + 2048);
    if (!scratch)
        return;
    char *rest = scratch;
    pair *q_features = take(&rest, blocks_long * half), *q_tokens = take(&rest, h.length * half);
    pair *out_features = take(&rest, blocks_long * half);
    pair *out_tokens = take(&rest, h.length * half);
    float *d_q = take(&rest, h.length * width), *log_sums = take(&rest, h.length);
    float *means = take(&rest, h.length); /* of the probabilities' gradients */
    bf16 *k = take(&rest, SIDE * half), *v = take(&rest, SIDE * half);
    pair *k_tokens = take(&rest, SIDE * half);
    float *d_k = take(&rest, SIDE * width), *d_v = take(&rest, SIDE * width);
    bf16 *p = take(&rest, SIDE * SIDE / 2), *d_scores = take(&rest, SIDE * SIDE / 2);
    pair *of_keys = take(&rest, SIDE * SIDE / 2), *turned = take(&rest, SIDE * SIDE / 2);

    lay_out(t, &h, t->q, k, q_features, q_tokens);
    lay_out(t, &h, t->d_out, k, out_features, out_tokens);
    memset(d_q, 0, (size_t)(h.length * width) * sizeof(float));
    for (int64_t i = 0; i < h.length; i++) {
        const int64_t at = h.first + i * h.row;
        const int there = i < h.tokens;
        log_sums[i] = there ? t->log_sums[item * h.tokens + i] : FAR; /* a probability of zero */
        means[i] = there ? dot(t->out + at, t->d_out + at, t->shape->width) : 0.0f;
    }

    for (int64_t key = 0; key < h.length; key += SIDE) {
        const int64_t keys = least(SIDE, h.length - key), there = least(SIDE, h.tokens - key);
        copy_rows(t->shape, t->k + h.first + key * h.row, there, keys, width, k);
        copy_rows(t->shape, t->v + h.first + key * h.row, there, keys, width, v);
        interleave(k, width, keys, width, k_tokens, width);
        memset(d_k, 0, (size_t)(keys * width) * sizeof(float));
        memset(d_v, 0, (size_t)(keys * width) * sizeof(float));
        for (int64_t query = key; query < h.length; query += SIDE) {
            const int64_t queries = least(SIDE, h.length - query);
            const int diagonal = key == query;
            for (int64_t j = 0; j < keys; j += ROWS) {
                float scores[ROWS * SIDE], d_p[ROWS * SIDE];
                const int64_t from = diagonal ? j / LANES * LANES : 0, count = queries - from;
                const int64_t features = query * half + from, tokens = (query + from) * half;
                multiply_rows(k + j * width, half, q_features + features, SIDE, half, scores + from,
                              SIDE, count, 0);
                multiply_rows(v + j * width, half, out_features + features, SIDE, half, d_p + from,
                              SIDE, count, 0);
                for (int64_t r = 0; r < ROWS; r++)
                    score_gradients(scores + r * SIDE, d_p + r * SIDE, log_sums + query,
                                    means + query, from, queries, diagonal ? j + r : 0, h.scale,
                                    p + (j + r) * SIDE, d_scores + (j + r) * SIDE);
                multiply_rows(p + j * SIDE + from, SIDE / 2, out_tokens + tokens, width, count / 2,
                              d_v + j * width, width, width, 1);
                multiply_rows(d_scores + j * SIDE + from, SIDE / 2, q_tokens + tokens, width,
                              count / 2, d_k + j * width, width, width, 1);
            }
            /* What was not computed, beyond the diagonal, is brought along and not multiplied. */
            interleave(d_scores, SIDE, keys, up(queries, 2 * LANES), of_keys, SIDE);
            turn(of_keys, SIDE, up(keys / 2, LANES), queries, turned, SIDE / 2);
            for (int64_t i = 0; i < queries; i += ROWS)
                multiply_rows(turned + i * SIDE / 2, SIDE / 2, k_tokens, width,
                              (diagonal ? up(i + ROWS, LANES) : keys) / 2,
                              d_q + (query + i) * width, width, width, 1);
        }
        for (int64_t j = 0; j < there; j++) {
            const int64_t at = h.first + (key + j) * h.row;
            round_row(d_k + j * width, 1.0f, t->shape->width, t->d_k + at);
            round_row(d_v + j * width, 1.0f, t->shape->width, t->d_v + at);
        }
    }
    for (int64_t i = 0; i < h.tokens; i++)
        round_row(d_q + i * width, 1.0f, t->shape->width, t->d_q + h.first + i * h.row);
    free(scratch);
}

int mediswift_attend(int threads, const attention_shape *shape, const void *q, const void *k,
                     const void *v, void *out, float *log_sums)
{
    task t = {.shape = shape, .q = q, .k = k, .v = v, .to_out = out, .log_sums = log_sums};
    run_items(threads, shape->batch * shape->heads, attend, &t);
    return !t.failed;
}

int mediswift_attention_gradients(int threads, const attention_shape *shape, const void *q,
                                  const void *k, const void *v, const void *out, float *log_sums,
                                  const void *d_out, void *d_q, void *d_k, void *d_v)
{
    task t = {.shape = shape, .q = q, .k = k, .v = v, .out = out, .log_sums = log_sums,
              .d_out = d_out, .d_q = d_q, .d_k = d_k, .d_v = d_v};
    run_items(threads, shape->batch * shape->heads, differentiate, &t);
    return !t.failed;
}
#endif
