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

/* Four non-zeros at a time: four independent chains, and one reduction for the four sums. */
TARGET static inline __attribute__((always_inline)) void
gradient_block(const sparse_list *w, const float *dy, const float *x, float *gradient,
               int64_t block, int64_t first_row, int64_t last_row, int add)
{
    const uint32_t *start = w->start + block * w->rows;
    const uint8_t *offsets = w->offset;
    for (int64_t row = first_row; row < last_row; row++) {
        const int64_t end = start[row + 1];
        if (start[row] == end)
            continue;
        const vector *out = (const vector *)(dy + row * TILE);
        EACH(HOLD)
        for (int64_t n = start[row]; n < end; n += 4) {
            const int64_t count = end - n < 4 ? end - n : 4, last = count - 1;
            const uint8_t *offset = offsets + n;
            /* Beyond the end the last non-zero is computed again and not stored. */
            const vector *in0 = input(x, offset[0]), *in1 = input(x, offset[last < 1 ? last : 1]);
            const vector *in2 = input(x, offset[last < 2 ? last : 2]), *in3 = input(x, offset[last]);
            vector s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
            float sums[4];
            EACH(FOUR)
            vector_sums(s0, s1, s2, s3, sums);
            float *to = gradient + n;
            if (count == 4)
                for (int i = 0; i < 4; i++)
                    to[i] = add ? to[i] + sums[i] : sums[i];
            else
                for (int64_t i = 0; i < count; i++)
                    to[i] = add ? to[i] + sums[i] : sums[i];
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
