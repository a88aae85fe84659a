/* What needs no wide vectors, or is written with intrinsics for AVX-512: the product with one
 * token, and the change between rows of tokens and tiles. */
#include <string.h>

#include "sparse_linear.h"

static inline float from_bf16(uint16_t bits)
{
    const uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

/* To the nearest, ties to even. */
static inline uint16_t to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (value != value)
        return 0x7fc0;
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

TARGET static void one_token(const sparse_list *w, const float *values, const float *bias,
                             const float *x, float *y, int64_t first_row, int64_t last_row)
{
    for (int64_t row = first_row; row < last_row; row++)
        y[row] = bias ? bias[row] : 0.0f;
    for (int64_t block = 0; block < blocks(w->cols); block++) {
        const uint32_t *start = w->start + block * w->rows;
        const float *in = x + block * BLOCK;
        for (int64_t row = first_row; row < last_row; row++) {
            float even = 0.0f, odd = 0.0f;
            uint32_t n = start[row];
            for (; n + 2 <= start[row + 1]; n += 2) {
                even += values[n] * in[w->offset[n]];
                odd += values[n + 1] * in[w->offset[n + 1]];
            }
            if (n < start[row + 1])
                even += values[n] * in[w->offset[n]];
            y[row] += even + odd;
        }
    }
}

enum { SQUARE = 16 }; /* tokens and features moved at a time, so that both sides stay cached */

TARGET static void pack(const void *x, int bf16, int64_t tokens, int64_t features, void *tile)
{
    float *to = tile;
    for (int64_t f0 = 0; f0 < features; f0 += SQUARE)
        for (int64_t t0 = 0; t0 < TILE; t0 += SQUARE)
            for (int64_t f = f0; f < least(f0 + SQUARE, features); f++)
                for (int64_t t = t0; t < t0 + SQUARE; t++) {
                    const int64_t at = t * features + f;
                    to[f * TILE + t] = t >= tokens ? 0.0f
                                       : bf16      ? from_bf16(((const uint16_t *)x)[at])
                                                   : ((const float *)x)[at];
                }
}

TARGET static void unpack(const void *tile, int bf16, int64_t tokens, int64_t features, void *x)
{
    const float *from = tile;
    for (int64_t t0 = 0; t0 < tokens; t0 += SQUARE)
        for (int64_t f0 = 0; f0 < features; f0 += SQUARE)
            for (int64_t t = t0; t < least(t0 + SQUARE, tokens); t++)
                for (int64_t f = f0; f < least(f0 + SQUARE, features); f++) {
                    const float value = from[f * TILE + t];
                    if (bf16)
                        ((uint16_t *)x)[t * features + f] = to_bf16(value);
                    else
                        ((float *)x)[t * features + f] = value;
                }
}
