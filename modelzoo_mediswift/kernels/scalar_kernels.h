/* What needs no wide vectors, or is written with intrinsics for AVX-512: the product of a sliced
 * matrix, and the change between rows of tokens and tiles. */
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

TARGET static void multiply_slice(const sliced_matrix *w, const float *bias, const float *x,
                                  float *y, int64_t tokens, int64_t slice)
{
    const int64_t first = slice * SLICE, rows = least(SLICE, w->rows - first);
    for (int64_t token = 0; token < tokens; token++) {
        float sums[SLICE] = {0};
        for (int64_t step = w->start[slice]; step < w->start[slice + 1]; step++) {
            const float *in = x + token * w->cols + w->window[step];
            for (int64_t lane = step * SLICE; lane < (step + 1) * SLICE; lane++)
                sums[lane - step * SLICE] += w->values[lane] * in[w->place[lane]];
        }
        for (int64_t row = 0; row < rows; row++)
            y[token * w->rows + first + row] = sums[row] + (bias ? bias[first + row] : 0.0f);
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
