/* The products, written once for every width of vector registers.
 *
 * Before inclusion: LANES (floats in a vector), TARGET (a function attribute, or nothing), and
 * vector_sums(a, b, c, d, sums), which writes the sums of four vectors to sums[0..3].
 * A pass covers WIDTH tokens of a tile, so that its eight accumulators stay in registers.
 */
#include "sparse_linear.h"

enum { HELD = 8, WIDTH = HELD * LANES };

/* Written out and not a loop: compilers keep named variables in registers, arrays not always. */
#define EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)
#define LOAD(j) vector a##j = out[j];
#define START(j) vector a##j = zero + initial;
#define ADD_PRODUCT(j) a##j += weight * in[j];
#define STORE(j) out[j] = a##j;

/* A chunk has half as many rows as a block has lines, so two lines of the next block are asked for
 * with each row; a hint beyond the end does no harm. */
enum { LINE = 16 }; /* floats */
_Static_assert(2 * CHUNK == BLOCK * TILE / LINE, "two lines to a row");

static inline __attribute__((always_inline)) void prefetch_lines(const float *block, int64_t row)
{
    __builtin_prefetch(block + 2 * row * LINE, 0, 2);
    __builtin_prefetch(block + (2 * row + 1) * LINE, 0, 2);
}

static inline const vector *input(const float *block, uint8_t offset)
{
    return (const vector *)(block + (size_t)offset * TILE);
}

/* The rows of one chunk times one block of columns, for WIDTH tokens. */
TARGET static inline __attribute__((always_inline)) void
multiply_block(const sparse_list *w, const float *values, const float *bias, const float *x,
               float *y, int64_t block, int64_t first_row, int64_t last_row)
{
    const uint32_t *start = w->start + block * w->rows;
    const uint8_t *offset = w->offset;
    const vector zero = {0};
    for (int64_t row = first_row; row < last_row; row++) {
        const uint32_t end = start[row + 1];
        vector *out = (vector *)(y + row * TILE);
        prefetch_lines(x + BLOCK * TILE, row - first_row);
#define WALK                                                                                       \
    for (int64_t n = start[row]; n < end; n++) {                                                   \
        const float weight = values[n];                                                            \
        const vector *in = input(x, offset[n]);                                                    \
        EACH(ADD_PRODUCT)                                                                          \
    }                                                                                              \
    EACH(STORE)
        if (block == 0) {
            const float initial = bias ? bias[row] : 0.0f;
            EACH(START)
            WALK
        } else if (start[row] < end) {
            EACH(LOAD)
            WALK
        }
    }
}

TARGET static void multiply(const sparse_list *w, const void *values, const float *bias,
                            const void *x, void *y, int64_t first_row, int64_t last_row)
{
    for (int64_t block = 0; block < blocks(w->cols); block++)
        for (int token = 0; token < TILE; token += WIDTH) {
            const float *in = (const float *)x + block * BLOCK * TILE + token;
            float *out = (float *)y + token;
            multiply_block(w, values, bias, in, out, block, first_row, last_row);
        }
}

static void arrange(const sparse_list *w, const float *values, void *arranged, int64_t block)
{
    float *to = arranged;
    const uint32_t *start = w->start + block * w->rows;
    for (int64_t row = 0; row < w->rows; row++) {
        const float *from = first_value(w, values, block, row);
        for (uint32_t n = start[row]; n < start[row + 1]; n++)
            to[n] = from[w->place ? w->place[n] : n];
    }
}

#define HOLD(j) const vector d##j = out[j];
#define FOUR(j)                                                                                    \
    s0 += d##j * in0[j];                                                                           \
    s1 += d##j * in1[j];                                                                           \
    s2 += d##j * in2[j];                                                                           \
    s3 += d##j * in3[j];

/* Four non-zeros at a time: four independent chains, and one reduction for the four sums. What is
 * left of a row comes one by one: filling up the four with numbers that nobody needs takes a sixth
 * more time at 75 % sparsity. */
TARGET static inline __attribute__((always_inline)) void
gradient_block(const sparse_list *w, const float *dy, const float *x, float *gradient,
               int64_t block, int64_t first_row, int64_t last_row, int add)
{
    const uint32_t *start = w->start + block * w->rows;
    const uint8_t *offset = w->offset;
    for (int64_t row = first_row; row < last_row; row++) {
        const int64_t end = start[row + 1];
        int64_t n = start[row];
        if (n == end)
            continue;
        const vector *out = (const vector *)(dy + row * TILE);
        prefetch_lines(x + BLOCK * TILE, row - first_row);
        EACH(HOLD)
        for (; n + 4 <= end; n += 4) {
            const vector *in0 = input(x, offset[n]), *in1 = input(x, offset[n + 1]);
            const vector *in2 = input(x, offset[n + 2]), *in3 = input(x, offset[n + 3]);
            vector s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
            float sums[4];
            EACH(FOUR)
            vector_sums(s0, s1, s2, s3, sums);
            for (int i = 0; i < 4; i++)
                gradient[n + i] = add ? gradient[n + i] + sums[i] : sums[i];
        }
        for (; n < end; n++) {
            const vector *in = input(x, offset[n]);
            const vector s0 = d0 * in[0] + d4 * in[4], s1 = d1 * in[1] + d5 * in[5];
            const vector s2 = d2 * in[2] + d6 * in[6], s3 = d3 * in[3] + d7 * in[7];
            const float sum = vector_sum((s0 + s1) + (s2 + s3));
            gradient[n] = add ? gradient[n] + sum : sum;
        }
    }
}

TARGET static void gradient(const sparse_list *w, const void *dy, const void *x, int64_t tiles,
                            float *gradient, int64_t first_row, int64_t last_row,
                            int64_t first_block, int64_t last_block)
{
    for (int64_t tile = 0; tile < tiles; tile++)
        for (int64_t block = first_block; block < last_block; block++)
            for (int token = 0; token < TILE; token += WIDTH) {
                const float *out = (const float *)dy + tile * w->rows * TILE + token;
                const float *in = (const float *)x + (tile * w->cols + block * BLOCK) * TILE + token;
                gradient_block(w, out, in, gradient, block, first_row, last_row,
                               tile > 0 || token > 0);
            }
}
