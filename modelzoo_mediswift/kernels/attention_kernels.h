/* Causal attention and its gradients, for any type of number whose matrices can be multiplied.
 *
 * Before inclusion: fp32_matrices.h, bf16_matrices.h or amx_matrices.h.
 *
 * Scores are computed for blocks of SIDE keys by SIDE queries and forgotten; those that a causal
 * mask hides are not computed, but for a few beside the diagonal. The largest score of a query so
 * far, and the sum of exponentials, are kept and corrected from block to block; with them the
 * gradients compute probabilities anew (FlashAttention, Dao and others 2022). A row of scores is of
 * one key, so that each lane of a vector is one query's, and no sum is across lanes; what queries
 * get is summed up transposed, as V^T P and K^T dS. Scores, softmax and all sums are fp32;
 * probabilities and the gradients of scores are rounded where they are multiplied as bf16.
 *
 * An item of work is one head of one sequence, so that no sum depends on the number of threads.
 */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    SIDE_WORDS = SIDE / IN_WORD,
    GROUP = VECTORS * LANES, /* queries whose scores are computed at a time */
    PARTS = 4,               /* of a softmax' sum: more exact, and they need not wait */
    STEP = (int)ROWS > (int)LANES ? (int)ROWS : (int)LANES /* lengths are padded to multiples */
};
#define LINES __attribute__((aligned(64))) /* a vector, or a tile's row, in one cache line */

static int64_t up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

/* --- The softmax. */

/* 2^x. For bf16 the polynomial is of the third degree: its error is 9e-5 where rounding makes one of
 * 2e-3, and 2^0 is 1. */
TARGET INLINE __m512 power(__m512 x)
{
    if (IN_WORD == 1)
        return power_of_two(x);
    const __m512 beyond = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    __m512 sum = _mm512_set1_ps(7.7067159e-2f);
    sum = _mm512_fmadd_ps(sum, beyond, _mm512_set1_ps(0.22764486f));
    sum = _mm512_fmadd_ps(sum, beyond, _mm512_set1_ps(0.69511682f));
    sum = _mm512_fmadd_ps(sum, beyond, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(sum, x); /* which takes the whole number below x */
}

/* Exponentials of scores, to `scale`, over those of largest ones. */
TARGET INLINE __m512 exponentials(const float *scores, __m512 largest, float scale)
{
    const __m512 above = _mm512_sub_ps(_mm512_loadu_ps(scores), largest);
    return power(_mm512_mul_ps(above, _mm512_set1_ps(scale * LOG2_E)));
}

/* Queries do not see later keys: the first one's number is `ahead` more than the first key's. */
TARGET INLINE void hide_scores(float *scores, int64_t keys, int64_t columns, int64_t ahead)
{
    for (int64_t c = 0; c < columns; c += LANES)
        for (int64_t k = ahead + c < 0 ? 0 : ahead + c + 1; k < keys; k++)
            _mm512_mask_storeu_ps(scores + k * GROUP + c, first_lanes(k - ahead - c),
                                  _mm512_set1_ps(-INFINITY));
}

/* What LANES queries know of the keys so far: the largest score of each, the sum of exponentials
 * beside it, and the values' sums with those weights, [width][SIDE]. */
typedef struct {
    float *largest, *sums, *values;
} seen_keys;

/* The scores of such queries, a few keys' rows, to probabilities up to a factor. */
TARGET INLINE void add_scores(const float *scores, int64_t keys, float scale, seen_keys seen,
                              int64_t width, word *probabilities)
{
    __m512 parts[PARTS]; /* of the largest, then of the sum */
    UNROLL
    for (int i = 0; i < PARTS; i++)
        parts[i] = _mm512_loadu_ps(seen.largest);
    for (int64_t k = 0; k < keys; k += PARTS) {
        UNROLL
        for (int i = 0; i < PARTS; i++)
            parts[i] = _mm512_max_ps(parts[i], _mm512_loadu_ps(scores + (k + i) * GROUP));
    }
    for (int n = PARTS / 2; n > 0; n /= 2)
        for (int i = 0; i < n; i++)
            parts[i] = _mm512_max_ps(parts[i], parts[i + n]);
    const __m512 largest = parts[0], less = exponentials(seen.largest, largest, scale);
    UNROLL
    for (int i = 0; i < PARTS; i++)
        parts[i] = _mm512_setzero_ps();
    for (int64_t k = 0; k < keys; k += PARTS) {
        __m512 p[PARTS];
        UNROLL
        for (int i = 0; i < PARTS; i++) {
            p[i] = exponentials(scores + (k + i) * GROUP, largest, scale);
            parts[i] = _mm512_add_ps(parts[i], p[i]);
        }
        UNROLL
        for (int i = 0; i < PARTS; i += IN_WORD)
            store_words(probabilities + (k + i) / IN_WORD * GROUP, p + i);
    }
    for (int n = PARTS / 2; n > 0; n /= 2)
        for (int i = 0; i < n; i++)
            parts[i] = _mm512_add_ps(parts[i], parts[i + n]);
    const __m512 sum = _mm512_fmadd_ps(_mm512_loadu_ps(seen.sums), less, parts[0]);
    _mm512_storeu_ps(seen.largest, largest);
    _mm512_storeu_ps(seen.sums, sum);
    if (_mm512_cmp_ps_mask(less, _mm512_set1_ps(1.0f), _CMP_NEQ_UQ))
        for (int64_t f = 0; f < width; f++) {
            float *values = seen.values + f * SIDE;
            _mm512_storeu_ps(values, _mm512_mul_ps(_mm512_loadu_ps(values), less));
        }
}

/* --- One head. */

typedef struct {
    int64_t length, width; /* padded, to a multiple of STEP and of IN_WORD * LANES */
    int64_t tokens;        /* that there are */
    int64_t features;      /* likewise */
    int64_t first;         /* number of the head's first element */
    int64_t row;           /* from one token to the next */
    float scale;           /* of scores */
} head;

static head head_of(const attention_shape *shape, int64_t item)
{
    const int64_t row = shape->heads * shape->width;
    return (head){.length = up(shape->length, STEP),
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
    const size_t size = (size_t)h->features * sizeof(number);
    const size_t padding = (size_t)h->width * sizeof(number) - size;
    for (int64_t row = 0; row < count; row++) {
        memcpy(to + row * h->width, from + row * h->row, size);
        memset(to + row * h->width + h->features, 0, padding);
    }
    memset(to + count * h->width, 0, (size_t)((padded - count) * h->width) * sizeof(number));
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

/* Some rows as a left factor's that is their transposed, [width][SIDE]; `room` is for them. */
static void turn_rows(const head *h, const number *rows, int64_t count, word *room, word *to)
{
    turn(stack_rows(rows, h->width, count, h->width, room), h->width, up(count / IN_WORD, LANES),
         h->width, to, SIDE_WORDS);
}

/* Transposed sums of a block, [width][SIDE], to rows of numbers, each times its factor or, without
 * factors, the scores' scale. `room` is for the sums. */
TARGET static void round_columns(const head *h, const float *sums, int64_t count, float *room,
                                 const float *factors, number *to)
{
    turn((const word *)sums, SIDE, h->width, up(count, LANES), (word *)room, h->width);
    for (int64_t i = 0; i < count; i++)
        round_row(room + i * h->width, factors ? factors[i] : h->scale, h->features,
                  to + i * h->row);
}

TARGET static void attend(void *what, int64_t item)
{
    attention_task *t = what;
    const head h = head_of(t->shape, item);
    const int64_t width = h.width, words = width / IN_WORD, blocks_long = up(h.length, SIDE);
    char *scratch =
        scratch_of(t, 4 * (3 * blocks_long * words + SIDE * (2 * words + 2 * width)));
    if (!scratch)
        return;
    begin_products();
    char *rest = scratch;
    word *queries = take(&rest, blocks_long * words), *values = take(&rest, blocks_long * words);
    number *keys = take(&rest, blocks_long * words), *rows = take(&rest, SIDE * words);
    word *stacked = take(&rest, SIDE * words);
    float *sums = take(&rest, SIDE * width), *turned = take(&rest, SIDE * width);
    lay_out(&h, t->q, rows, queries, NULL);
    copy_rows(&h, (const number *)t->k + h.first, h.tokens, h.length, keys);
    for (int64_t key = 0; key < h.length; key += SIDE) {
        const int64_t padded = least(SIDE, h.length - key);
        copy_rows(&h, (const number *)t->v + h.first + key * h.row, least(SIDE, h.tokens - key),
                  padded, rows);
        turn_rows(&h, rows, padded, stacked, values + key * words);
    }

    float *to_largest = t->softmax + 2 * item * h.tokens, *inverse_sums = to_largest + h.tokens;
    for (int64_t query = 0; query < h.length; query += SIDE) {
        const int64_t count = least(SIDE, h.length - query), there = least(SIDE, h.tokens - query);
        LINES float largest[SIDE], totals[SIDE];
        memset(sums, 0, (size_t)(SIDE * width) * sizeof(float));
        for (int64_t i = 0; i < count; i++) { /* not -inf, whose differences are no numbers */
            largest[i] = -FLT_MAX;
            totals[i] = 0.0f;
        }
        for (int64_t key = 0; key <= query; key += SIDE)
            for (int64_t i = 0; i < count; i += GROUP) {
                LINES float scores[SIDE * GROUP];
                LINES word probabilities[SIDE_WORDS * GROUP];
                const int64_t columns = least(GROUP, count - i);
                const int64_t seen = key == query ? up(i + columns, STEP) : SIDE;
                for (int64_t j = 0; j < seen; j += ROWS)
                    multiply_rows(keys + (key + j) * width, words, queries + query * words + i,
                                  SIDE, words, scores + j * GROUP, GROUP, columns, 0);
                if (key == query)
                    hide_scores(scores, seen, columns, i);
                for (int64_t c = 0; c < columns; c += LANES)
                    add_scores(scores + c, seen, h.scale,
                               (seen_keys){largest + i + c, totals + i + c, sums + i + c}, width,
                               probabilities + c);
                for (int64_t f = 0; f < width; f += ROWS)
                    multiply_rows(values + key * words + f * SIDE_WORDS, SIDE_WORDS, probabilities,
                                  GROUP, seen / IN_WORD, sums + f * SIDE + i, SIDE, columns, 1);
            }
        for (int64_t i = 0; i < there; i++) {
            to_largest[query + i] = largest[i];
            inverse_sums[query + i] = 1.0f / totals[i];
        }
        round_columns(&h, sums, there, turned, inverse_sums + query,
                      (number *)t->to_out + h.first + query * h.row);
    }
    end_products();
    free(scratch);
}

TARGET INLINE float dot(const number *a, const number *b, int64_t count)
{
    __m512 sum = _mm512_setzero_ps();
    for (int64_t c = 0; c < count; c += IN_WORD * LANES)
        sum = add_products(sum, load_first(a + c, count - c), load_first(b + c, count - c));
    return _mm512_reduce_add_ps(sum);
}

/* What queries need for their gradients, from the first of a group on. */
typedef struct {
    const float *largest, *inverse_sums, *means; /* the last: of the probabilities' gradients */
} known_queries;

/* Scores and gradients of probabilities, of ROWS keys and `columns` queries, to probabilities and
 * to gradients of scores but for the scale, as rows and as words of keys. */
TARGET INLINE void score_gradients(const float *scores, const float *d_probabilities,
                                   int64_t columns, known_queries of, float scale,
                                   number *probabilities, number *d_scores, word *d_words)
{
    for (int64_t c = 0; c < columns; c += LANES) {
        const __m512 inverse_sums = _mm512_loadu_ps(of.inverse_sums + c);
        const __m512 largest = _mm512_loadu_ps(of.largest + c);
        const __m512 means = _mm512_loadu_ps(of.means + c);
        for (int64_t r = 0; r < ROWS; r += IN_WORD) {
            __m512 p[IN_WORD], d[IN_WORD];
            UNROLL
            for (int i = 0; i < IN_WORD; i++) {
                const int64_t at = (r + i) * GROUP + c;
                const __m512 d_p = _mm512_loadu_ps(d_probabilities + at);
                p[i] = _mm512_mul_ps(inverse_sums, exponentials(scores + at, largest, scale));
                d[i] = _mm512_mul_ps(p[i], _mm512_sub_ps(d_p, means));
            }
            store_rows(probabilities + r * SIDE + c, SIDE, p);
            store_rows(d_scores + r * SIDE + c, SIDE, d);
            if (IN_WORD > 1)
                store_words(d_words + r / IN_WORD * SIDE + c, d);
        }
    }
}

TARGET static void differentiate(void *what, int64_t item)
{
    attention_task *t = what;
    const head h = head_of(t->shape, item);
    const int64_t width = h.width, words = width / IN_WORD, blocks_long = up(h.length, SIDE);
    char *scratch = scratch_of(t, 4 * (4 * blocks_long * words + blocks_long * (width + 3) +
                                       SIDE * (4 * words + 3 * width + SIDE_WORDS)));
    if (!scratch)
        return;
    begin_products();
    char *rest = scratch;
    word *q_features = take(&rest, blocks_long * words), *q_tokens = take(&rest, h.length * words);
    word *out_features = take(&rest, blocks_long * words);
    word *out_tokens = take(&rest, h.length * words);
    float *d_q = take(&rest, blocks_long * width), *largest = take(&rest, h.length);
    float *inverse_sums = take(&rest, h.length), *means = take(&rest, h.length);
    number *k = take(&rest, SIDE * words), *v = take(&rest, SIDE * words);
    word *stacked = take(&rest, SIDE * words), *turned_keys = take(&rest, SIDE * words);
    float *d_k = take(&rest, SIDE * width), *d_v = take(&rest, SIDE * width);
    float *turned = take(&rest, SIDE * width);
    word *d_words = take(&rest, SIDE * SIDE_WORDS);

    lay_out(&h, t->q, k, q_features, q_tokens);
    lay_out(&h, t->d_out, k, out_features, out_tokens);
    const number *out = (const number *)t->out + h.first;
    const number *d_out = (const number *)t->d_out + h.first;
    memset(d_q, 0, (size_t)(blocks_long * width) * sizeof(float));
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
        turn_rows(&h, k, keys, stacked, turned_keys);
        memset(d_k, 0, (size_t)(keys * width) * sizeof(float));
        memset(d_v, 0, (size_t)(keys * width) * sizeof(float));
        for (int64_t query = key; query < h.length; query += SIDE) {
            const int64_t queries = least(SIDE, h.length - query);
            const int diagonal = key == query;
            for (int64_t j = 0; j < keys; j += ROWS) {
                const int64_t from = diagonal ? j / STEP * STEP : 0;
                LINES number p[ROWS * SIDE], rows[ROWS * SIDE]; /* fp32's rows are words */
                number *d_scores = IN_WORD > 1 ? rows : (number *)d_words + j * SIDE;
                for (int64_t i = from; i < queries; i += GROUP) {
                    LINES float scores[ROWS * GROUP], d_p[ROWS * GROUP];
                    const int64_t columns = least(GROUP, queries - i), at = query + i;
                    multiply_rows(k + j * width, words, q_features + query * words + i, SIDE,
                                  words, scores, GROUP, columns, 0);
                    multiply_rows(v + j * width, words, out_features + query * words + i, SIDE,
                                  words, d_p, GROUP, columns, 0);
                    if (diagonal)
                        hide_scores(scores, ROWS, columns, i - j);
                    score_gradients(scores, d_p, columns,
                                    (known_queries){largest + at, inverse_sums + at, means + at},
                                    h.scale, p + i, d_scores + i,
                                    d_words + j / IN_WORD * SIDE + i);
                }
                const int64_t seen = (queries - from) / IN_WORD, tokens = (query + from) * words;
                multiply_rows(p + from, SIDE_WORDS, out_tokens + tokens, width, seen,
                              d_v + j * width, width, width, 1);
                multiply_rows(d_scores + from, SIDE_WORDS, q_tokens + tokens, width, seen,
                              d_k + j * width, width, width, 1);
                for (int64_t r = j / IN_WORD; r < (j + ROWS) / IN_WORD; r++) /* of hidden queries */
                    memset(d_words + r * SIDE + from / GROUP * GROUP, 0,
                           (size_t)(from % GROUP) * sizeof(word));
            }
            for (int64_t i = 0; i < queries; i += GROUP) {
                const int64_t columns = least(GROUP, queries - i);
                for (int64_t f = 0; f < width; f += ROWS)
                    multiply_rows(turned_keys + f * SIDE_WORDS, SIDE_WORDS, d_words + i, SIDE,
                                  (diagonal ? up(i + columns, STEP) : keys) / IN_WORD,
                                  d_q + query * width + f * SIDE + i, SIDE, columns, 1);
            }
        }
        for (int64_t j = 0; j < there; j++) {
            round_row(d_k + j * width, h.scale, h.features, (number *)t->d_k + block + j * h.row);
            round_row(d_v + j * width, 1.0f, h.features, (number *)t->d_v + block + j * h.row);
        }
    }
    for (int64_t query = 0; query < h.length; query += SIDE)
        round_columns(&h, d_q + query * width, least(SIDE, h.tokens - query), turned, NULL,
                      (number *)t->d_q + h.first + query * h.row);
    end_products();
    free(scratch);
}
