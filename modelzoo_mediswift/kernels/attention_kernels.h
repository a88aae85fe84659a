/* Causal attention and its gradients, for any type of number whose matrices can be multiplied.
 *
 * Before inclusion: bf16_matrices.h or fp32_matrices.h.
 *
 * Scores are computed for blocks of SIDE queries by SIDE keys and forgotten; those that a causal
 * mask hides are not computed, but for a few beside the diagonal. The largest score of a query so
 * far, and the sum of exponentials, are kept and corrected from block to block; with them the
 * gradients compute probabilities anew (FlashAttention, Dao and others 2022). Scores, softmax and
 * all sums are fp32; probabilities and the gradients of scores are rounded where they are
 * multiplied as bf16.
 *
 * An item of work is one head of one sequence, so that no sum depends on the number of threads.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE_WORDS = SIDE / IN_WORD };
static const float LOG2_E = 1.44269504f;

static int64_t up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

/* --- The softmax. */

/* 2^x, the nearest float or the next one: for the part that is not whole the polynomial of the
 * sixth degree with the least relative error, 2e-9 before rounding. */
TARGET INLINE __m512 power_of_two(__m512 x)
{
    const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 part = _mm512_sub_ps(x, whole);
    __m512 sum = _mm512_set1_ps(1.5353362e-4f);
    sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(1.3398875e-3f));
    sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(9.618437e-3f));
    sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(5.5503324e-2f));
    sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(0.24022648f));
    sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(0.6931472f));
    sum = _mm512_fmadd_ps(sum, part, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(sum, whole);
}

/* Exponentials of scores, to `scale`, over that of a largest one. */
TARGET INLINE __m512 exponentials(const float *scores, __m512 largest, float scale)
{
    const __m512 above = _mm512_sub_ps(_mm512_loadu_ps(scores), largest);
    return power_of_two(_mm512_mul_ps(above, _mm512_set1_ps(scale * LOG2_E)));
}

/* What a query knows of the keys so far: the largest score, the sum of exponentials beside it, and
 * the values' sum with those weights. */
typedef struct {
    float largest, sum;
    float *values; /* [width] */
} seen_keys;

/* One query's scores of a block to probabilities up to a factor, zero from `there` on. */
TARGET INLINE void add_scores(const float *scores, int64_t columns, int64_t there, float scale,
                              seen_keys *seen, int64_t width, number *probabilities)
{
    __m512 top = _mm512_set1_ps(seen->largest);
    for (int64_t c = 0; c < columns; c += LANES)
        top = _mm512_mask_max_ps(top, first_lanes(there - c), top, _mm512_loadu_ps(scores + c));
    const float largest = _mm512_reduce_max_ps(top);
    __m512 sum = _mm512_setzero_ps();
    for (int64_t c = 0; c < columns; c += LANES) {
        const __m512 p = _mm512_maskz_mov_ps(
            first_lanes(there - c), exponentials(scores + c, _mm512_set1_ps(largest), scale));
        sum = _mm512_add_ps(sum, p);
        store_numbers(probabilities + c, p);
    }
    const float less = exp2f((seen->largest - largest) * scale * LOG2_E);
    if (less != 1.0f)
        for (int64_t c = 0; c < width; c += LANES)
            _mm512_storeu_ps(seen->values + c, _mm512_mul_ps(_mm512_loadu_ps(seen->values + c),
                                                             _mm512_set1_ps(less)));
    seen->largest = largest;
    seen->sum = seen->sum * less + _mm512_reduce_add_ps(sum);
}

/* --- One head. */

typedef struct {
    int64_t length, width; /* padded, to a multiple of LANES and of IN_WORD * LANES */
    int64_t tokens;        /* that there are */
    int64_t features;      /* likewise */
    int64_t first;         /* number of the head's first element */
    int64_t row;           /* from one token to the next */
    float scale;           /* of scores */
} head;

static head head_of(const attention_shape *shape, int64_t item)
{
    const int64_t row = shape->heads * shape->width;
    return (head){.length = up(shape->length, LANES),
                  .width = up(shape->width, IN_WORD * LANES),
                  .tokens = shape->length,
                  .features = shape->width,
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

static char *scratch_of(attention_task *t, int64_t bytes)
{
    char *scratch = aligned_alloc(64, (size_t)up(bytes, 64));
    if (!scratch)
        t->failed = 1;
    return scratch;
}

/* `count` rows of a head, in `padded` rows of its padded width: zero beyond its own. */
static void copy_rows(const head *h, const number *from, int64_t count, int64_t padded, number *to)
{
    memset(to, 0, (size_t)(padded * h->width) * sizeof(number));
    for (int64_t row = 0; row < count; row++)
        memcpy(to + row * h->width, from + row * h->row, (size_t)h->features * sizeof(number));
}

/* A matrix of a head's tokens as words of features, [block of SIDE tokens][words][SIDE], and as
 * words of tokens, [length / IN_WORD][width]; either may be NULL. `room` is for a block. */
static void lay_out(const head *h, const number *matrix, number *room, word *of_features,
                    word *of_tokens)
{
    const int stacked = IN_WORD == 1 && of_tokens; /* as they are copied */
    const int64_t width = h->width, words = width / IN_WORD;
    for (int64_t at = 0; at < h->length; at += SIDE) {
        const int64_t padded = least(SIDE, h->length - at);
        number *rows = stacked ? (number *)(of_tokens + at * words) : room;
        copy_rows(h, matrix + h->first + at * h->row, least(SIDE, h->tokens - at), padded, rows);
        if (of_features)
            turn((const word *)rows, words, padded, words, of_features + at * words, SIDE);
        if (of_tokens)
            stack_rows(rows, width, padded, width, of_tokens + at * words);
    }
}

TARGET static void attend(void *what, int64_t item)
{
    attention_task *t = what;
    const head h = head_of(t->shape, item);
    const int64_t width = h.width, words = width / IN_WORD;
    char *scratch = scratch_of(t, 4 * (2 * up(h.length, SIDE) * words + SIDE * (words + width)));
    if (!scratch)
        return;
    char *rest = scratch;
    word *keys = take(&rest, up(h.length, SIDE) * words), *values = take(&rest, h.length * words);
    number *rows = take(&rest, SIDE * words);
    float *sums = take(&rest, SIDE * width);
    lay_out(&h, t->k, rows, keys, NULL);
    lay_out(&h, t->v, rows, NULL, values);

    const number *q = (const number *)t->q + h.first;
    number *out = (number *)t->to_out + h.first;
    float *largest = t->softmax + 2 * item * h.tokens, *inverse_sums = largest + h.tokens;
    for (int64_t query = 0; query < h.length; query += SIDE) {
        const int64_t queries = least(SIDE, h.length - query);
        const int64_t there = least(SIDE, h.tokens - query);
        seen_keys seen[SIDE];
        copy_rows(&h, q + query * h.row, there, queries, rows);
        memset(sums, 0, (size_t)(queries * width) * sizeof(float));
        for (int64_t i = 0; i < queries; i++) /* not -inf, whose differences are no numbers */
            seen[i] = (seen_keys){-FLT_MAX, 0.0f, sums + i * width};
        for (int64_t key = 0; key <= query; key += SIDE)
            for (int64_t i = 0; i < queries; i += ROWS) {
                float scores[ROWS * SIDE];
                number probabilities[ROWS * SIDE];
                const int diagonal = key == query;
                const int64_t columns = diagonal ? up(i + ROWS, LANES) : SIDE;
                multiply_rows(rows + i * width, words, keys + key * words, SIDE, words, scores,
                              SIDE, columns, 0);
                for (int64_t r = 0; r < ROWS; r++)
                    add_scores(scores + r * SIDE, columns, diagonal ? i + r + 1 : SIDE,
                               h.scale, &seen[i + r], width, probabilities + r * SIDE);
                multiply_rows(probabilities, SIDE_WORDS, values + key * words, width,
                              columns / IN_WORD, sums + i * width, width, width, 1);
            }
        for (int64_t i = 0; i < there; i++) {
            largest[query + i] = seen[i].largest;
            inverse_sums[query + i] = 1.0f / seen[i].sum;
            round_row(seen[i].values, inverse_sums[query + i], h.features,
                      out + (query + i) * h.row);
        }
    }
    free(scratch);
}

TARGET INLINE float dot(const number *a, const number *b, int64_t count)
{
    __m512 sum = _mm512_setzero_ps();
    for (int64_t c = 0; c < count; c += IN_WORD * LANES)
        sum = add_products(sum, load_first(a + c, count - c), load_first(b + c, count - c));
    return _mm512_reduce_add_ps(sum);
}

/* One key's scores and gradients of probabilities, by queries, to probabilities and gradients of
 * scores, from `first` on; `sees` is the first query that sees the key. */
TARGET INLINE void score_gradients(const float *scores, const float *d_probabilities,
                                   const float *largest, const float *inverse_sums,
                                   const float *means, int64_t first, int64_t queries,
                                   int64_t sees, float scale, number *probabilities,
                                   number *d_scores)
{
    for (int64_t c = first; c < queries; c += LANES) {
        const __mmask16 hidden = first_lanes(sees - c);
        const __m512 p = _mm512_maskz_mul_ps(
            (__mmask16)~hidden, _mm512_loadu_ps(inverse_sums + c),
            exponentials(scores + c, _mm512_loadu_ps(largest + c), scale));
        const __m512 d = _mm512_sub_ps(_mm512_loadu_ps(d_probabilities + c),
                                       _mm512_loadu_ps(means + c));
        const __m512 d_score = _mm512_mul_ps(_mm512_mul_ps(p, d), _mm512_set1_ps(scale));
        store_numbers(probabilities + c, p);
        store_numbers(d_scores + c, d_score);
    }
}

TARGET static void differentiate(void *what, int64_t item)
{
    attention_task *t = what;
    const head h = head_of(t->shape, item);
    const int64_t width = h.width, words = width / IN_WORD, blocks_long = up(h.length, SIDE);
    char *scratch = scratch_of(t, 4 * (4 * blocks_long * words + h.length * (width + 3) +
                                       SIDE * (3 * words + 2 * width + 4 * SIDE_WORDS)));
    if (!scratch)
        return;
    char *rest = scratch;
    word *q_features = take(&rest, blocks_long * words), *q_tokens = take(&rest, h.length * words);
    word *out_features = take(&rest, blocks_long * words);
    word *out_tokens = take(&rest, h.length * words);
    float *d_q = take(&rest, h.length * width), *largest = take(&rest, h.length);
    float *inverse_sums = take(&rest, h.length);
    float *means = take(&rest, h.length); /* of the probabilities' gradients */
    number *k = take(&rest, SIDE * words), *v = take(&rest, SIDE * words);
    word *stacked_keys = take(&rest, SIDE * words);
    float *d_k = take(&rest, SIDE * width), *d_v = take(&rest, SIDE * width);
    number *p = take(&rest, SIDE * SIDE_WORDS), *d_scores = take(&rest, SIDE * SIDE_WORDS);
    word *stacked = take(&rest, SIDE * SIDE_WORDS), *turned = take(&rest, SIDE * SIDE_WORDS);

    lay_out(&h, t->q, k, q_features, q_tokens);
    lay_out(&h, t->d_out, k, out_features, out_tokens);
    const number *out = (const number *)t->out + h.first;
    const number *d_out = (const number *)t->d_out + h.first;
    memset(d_q, 0, (size_t)(h.length * width) * sizeof(float));
    for (int64_t i = 0; i < h.length; i++) {
        const float *softmax = t->softmax + 2 * item * h.tokens + i;
        const int there = i < h.tokens;
        largest[i] = there ? softmax[0] : 0.0f;
        inverse_sums[i] = there ? softmax[h.tokens] : 0.0f; /* no probability */
        means[i] = there ? dot(out + i * h.row, d_out + i * h.row, h.features) : 0.0f;
    }

    for (int64_t key = 0; key < h.length; key += SIDE) {
        const int64_t keys = least(SIDE, h.length - key), there = least(SIDE, h.tokens - key);
        const int64_t block = h.first + key * h.row;
        copy_rows(&h, (const number *)t->k + block, there, keys, k);
        copy_rows(&h, (const number *)t->v + block, there, keys, v);
        const word *k_tokens = stack_rows(k, width, keys, width, stacked_keys);
        memset(d_k, 0, (size_t)(keys * width) * sizeof(float));
        memset(d_v, 0, (size_t)(keys * width) * sizeof(float));
        for (int64_t query = key; query < h.length; query += SIDE) {
            const int64_t queries = least(SIDE, h.length - query);
            const int diagonal = key == query;
            for (int64_t j = 0; j < keys; j += ROWS) {
                float scores[ROWS * SIDE], d_p[ROWS * SIDE];
                const int64_t from = diagonal ? j / LANES * LANES : 0, count = queries - from;
                const int64_t features = query * words + from, tokens = (query + from) * words;
                multiply_rows(k + j * width, words, q_features + features, SIDE, words,
                              scores + from, SIDE, count, 0);
                multiply_rows(v + j * width, words, out_features + features, SIDE, words,
                              d_p + from, SIDE, count, 0);
                for (int64_t r = 0; r < ROWS; r++)
                    score_gradients(scores + r * SIDE, d_p + r * SIDE, largest + query,
                                    inverse_sums + query, means + query, from, queries,
                                    diagonal ? j + r : 0, h.scale, p + (j + r) * SIDE,
                                    d_scores + (j + r) * SIDE);
                multiply_rows(p + j * SIDE + from, SIDE_WORDS, out_tokens + tokens, width,
                              count / IN_WORD, d_v + j * width, width, width, 1);
                multiply_rows(d_scores + j * SIDE + from, SIDE_WORDS, q_tokens + tokens, width,
                              count / IN_WORD, d_k + j * width, width, width, 1);
            }
            /* What was not computed, beyond the diagonal, is brought along and not multiplied. */
            const word *of_keys =
                stack_rows(d_scores, SIDE, keys, up(queries, IN_WORD * LANES), stacked);
            turn(of_keys, SIDE, up(keys / IN_WORD, LANES), queries, turned, SIDE_WORDS);
            for (int64_t i = 0; i < queries; i += ROWS)
                multiply_rows(turned + i * SIDE_WORDS, SIDE_WORDS, k_tokens, width,
                              (diagonal ? up(i + ROWS, LANES) : keys) / IN_WORD,
                              d_q + (query + i) * width, width, width, 1);
        }
        for (int64_t j = 0; j < there; j++) {
            round_row(d_k + j * width, 1.0f, h.features, (number *)t->d_k + block + j * h.row);
            round_row(d_v + j * width, 1.0f, h.features, (number *)t->d_v + block + j * h.row);
        }
    }
    for (int64_t i = 0; i < h.tokens; i++)
        round_row(d_q + i * width, 1.0f, h.features, (number *)t->d_q + h.first + i * h.row);
    free(scratch);
}
