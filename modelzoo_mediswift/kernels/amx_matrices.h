/* Products of bf16 matrices by tiles (AMX_BF16): registers of 16 rows of 16 words, whose products
 * add up in tiles of 16 x 16 fp32 sums. matrices.h's words are what they take.
 *
 * Tiles are the calling thread's between `begin_products` and `end_products`: PyTorch's products
 * (oneDNN) set them up for themselves, and none runs in between, so nothing is to be kept.
 */
#ifndef AMX_MATRICES_H
#define AMX_MATRICES_H

#define TARGET                                                                                     \
    __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,"       \
                          "avx2,fma")))

#include "bf16_numbers.h"

enum {
    ROWS = 32,
    VECTORS = 2, /* two tiles of sums by two: with their factors all eight that there are */
    SIDE = 128
};

TARGET INLINE void begin_products(void)
{
    static const struct {
        uint8_t palette, first_row, zeros[14];
        uint16_t bytes[16]; /* of a tile's rows */
        uint8_t rows[16];
    } all = {.palette = 1, .bytes = {64, 64, 64, 64, 64, 64, 64, 64},
             .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
    _tile_loadconfig(&all);
}

TARGET INLINE void end_products(void) { _tile_release(); }

/* C = A B, or C += A B: ROWS rows, `depth` words in each of A's, a multiple of LANES, and columns a
 * multiple of two vectors. */
TARGET INLINE void multiply_rows(const void *a, int64_t a_row, const word *b, int64_t b_row,
                                 int64_t depth, float *c, int64_t c_row, int64_t columns, int add)
{
    const word *upper = a, *lower = upper + LANES * a_row;
    __asm__ volatile("" ::: "memory"); /* compilers do not know that loading a tile reads memory */
    for (int64_t at = 0; at < columns; at += 2 * LANES) {
        float *above = c + at, *below = above + LANES * c_row;
        if (add) {
            _tile_loadd(0, above, c_row * 4);
            _tile_loadd(1, above + LANES, c_row * 4);
            _tile_loadd(2, below, c_row * 4);
            _tile_loadd(3, below + LANES, c_row * 4);
        } else {
            _tile_zero(0);
            _tile_zero(1);
            _tile_zero(2);
            _tile_zero(3);
        }
        for (int64_t n = 0; n < depth; n += LANES) {
            _tile_loadd(4, upper + n, a_row * 4);
            _tile_loadd(6, b + n * b_row + at, b_row * 4);
            _tile_loadd(7, b + n * b_row + at + LANES, b_row * 4);
            _tile_dpbf16ps(0, 4, 6);
            _tile_dpbf16ps(1, 4, 7);
            _tile_loadd(5, lower + n, a_row * 4);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
        _tile_stored(0, above, c_row * 4);
        _tile_stored(1, above + LANES, c_row * 4);
        _tile_stored(2, below, c_row * 4);
        _tile_stored(3, below + LANES, c_row * 4);
    }
}

#endif
