/* What the parts of the library share: the layout of tokens and of a sparse matrix.
 *
 * Activations are "packed": tiles of TILE tokens, feature-major, [tiles][features][TILE], so that
 * one weight multiplies TILE tokens by whole vectors. Tokens beyond the last are zero. Numbers are
 * fp32 or, for kernels that multiply bf16, bf16.
 *
 * A sparse matrix W of `rows` x `cols` is a list of its non-zeros in the order of
 * [block of BLOCK columns][row][column]: BLOCK x TILE floats of the input, 32 KiB, stay in the
 * first-level cache while all rows of a chunk pass. start[block * rows + row] is where a row's
 * part begins, and the next entry where it ends; offset[] is a column's place in its block.
 *
 * The transposed matrix has its own starts and offsets and no values: place[] says where a value
 * stands, counted from the first value of the same BLOCK x BLOCK square, which fits 16 bits. Its
 * products take a copy of the values, brought into the order of its own list; those of bf16 take
 * rounded copies of either matrix.
 */
#ifndef SPARSE_LINEAR_H
#define SPARSE_LINEAR_H

#include "sliced.h"

#include <stddef.h>
#include <stdint.h>

enum {
    TILE = 128,
    BLOCK = 64,
    CHUNK = 256 /* rows that a thread takes at a time: their part of a tile stays in L2 */
};

typedef struct {
    int64_t rows, cols;
    const uint32_t *start;       /* blocks(cols) * rows + 1 */
    const uint8_t *offset;       /* non-zeros */
    const uint16_t *place;       /* non-zeros; NULL where values stand in the list's own order */
    const uint32_t *value_start; /* with place: `start` of the matrix that has the values */
} sparse_list;

typedef struct {
    int64_t number; /* bytes of a number in a tile, and of a value */
    /* y[chunk of rows] = W x + bias for one tile; x, y are one tile each. */
    void (*multiply)(const sparse_list *w, const void *values, const float *bias, const void *x,
                     void *y, int64_t first_row, int64_t last_row);
    /* gradient[n] = sum over all tiles of dy[row of n] * x[column of n]. */
    void (*gradient)(const sparse_list *w, const void *dy, const void *x, int64_t tiles,
                     float *gradient, int64_t first_row, int64_t last_row, int64_t first_block,
                     int64_t last_block);
    /* One tile of `tokens` rows of `features` numbers, bf16 or fp32, and back. */
    void (*pack)(const void *x, int bf16, int64_t tokens, int64_t features, void *tile);
    void (*unpack)(const void *tile, int bf16, int64_t tokens, int64_t features, void *x);
    /* fp32 only: a slice's rows of y = W x + bias for rows of tokens. */
    void (*multiply_slice)(const sliced_matrix *w, const float *bias, const float *x, float *y,
                           int64_t tokens, int64_t slice);
    /* The values that `multiply` takes, of one block: in the list's order, and of tiles' type. */
    void (*arrange)(const sparse_list *w, const float *values, void *arranged, int64_t block);
    /* bf16 only: each feature's sum over all tokens. */
    void (*token_sums)(const void *x, int64_t tiles, int64_t features, float *sums);
} sparse_kernels;

#define FP32_KERNELS                                                                               \
    {sizeof(float), multiply, gradient, pack, unpack, multiply_slice, arrange, NULL}

extern const sparse_kernels portable_kernels;
#if defined(__x86_64__)
extern const sparse_kernels avx2_kernels, avx512_kernels;
#if defined(__clang__) ? __clang_major__ >= 9 : __GNUC__ >= 10
#define HAS_BF16_KERNELS
extern const sparse_kernels bf16_kernels;
#endif
/* Of attention alone. */
#if defined(__linux__) && (defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11)
#define HAS_AMX_KERNELS
#endif
#endif

/* The kernels of a number: 0 portable, 1 AVX2, 2 AVX-512, all of fp32; 3 AVX-512 of bf16. There is
 * a number for attention alone, 4: AMX of bf16. */
const sparse_kernels *products_by(int instructions);

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t blocks(int64_t columns) { return (columns + BLOCK - 1) / BLOCK; }

/* What the places of a row's part count from; where there are none, the list's numbers do. */
static inline const float *first_value(const sparse_list *w, const float *values, int64_t block,
                                       int64_t row)
{
    return w->place ? values + w->value_start[row / BLOCK * w->cols + block * BLOCK] : values;
}

#endif
