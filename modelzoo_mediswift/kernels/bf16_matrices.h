/* Small products of bf16 matrices with fp32 sums, and how their factors are laid out.
 *
 * A product takes two numbers of one row of its left factor at a time, as they lie. The right factor
 * is made of "pairs": two of its rows side by side, a0 b0 a1 b1 ..., as numbers of 32 bits. Where the
 * right factor is K^T that is K with numbers of 32 bits transposed.
 */
#ifndef BF16_MATRICES_H
#define BF16_MATRICES_H

#include "avx512_bf16.h"

enum {
    ROWS = 4,  /* of a product at a time: with four vectors of columns, sixteen sums in registers */
    LANES = 16 /* sums in a vector */
};

/* ROWS rows of A by `vectors` vectors of columns of B, a matrix of pairs. */
TARGET INLINE void multiply_part(const pair *a, int64_t a_row, const pair *b, int64_t b_row,
                                 int64_t pairs, float *c, int64_t c_row, int add, int vectors)
{
    __m512 sums[ROWS][4];
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++)
            sums[r][j] = add ? _mm512_loadu_ps(c + r * c_row + j * LANES) : _mm512_setzero_ps();
    for (int64_t n = 0; n < pairs; n++) {
        __m512bh right[4];
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++)
            right[j] = (__m512bh)_mm512_loadu_si512(b + n * b_row + j * LANES);
#pragma GCC unroll 4
        for (int r = 0; r < ROWS; r++) {
            const __m512bh left = (__m512bh)_mm512_set1_epi32(a[r * a_row + n]);
#pragma GCC unroll 4
            for (int j = 0; j < vectors; j++)
                sums[r][j] = _mm512_dpbf16_ps(sums[r][j], left, right[j]);
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 4
        for (int j = 0; j < vectors; j++)
            _mm512_storeu_ps(c + r * c_row + j * LANES, sums[r][j]);
}

/* C = A B, or C += A B: ROWS rows, 2 * pairs numbers in each of A's, columns a multiple of LANES. */
TARGET INLINE void multiply_rows(const void *a, int64_t a_row, const pair *b, int64_t b_row,
                                 int64_t pairs, float *c, int64_t c_row, int64_t columns, int add)
{
    int64_t at = 0;
    for (; at + 4 * LANES <= columns; at += 4 * LANES)
        multiply_part(a, a_row, b + at, b_row, pairs, c + at, c_row, add, 4);
    if (at + 2 * LANES <= columns) {
        multiply_part(a, a_row, b + at, b_row, pairs, c + at, c_row, add, 2);
        at += 2 * LANES;
    }
    if (at < columns)
        multiply_part(a, a_row, b + at, b_row, pairs, c + at, c_row, add, 1);
}

/* Rows two by two as rows of pairs; the width is a multiple of 2 * LANES. */
TARGET static void interleave(const bf16 *from, int64_t row, int64_t rows, int64_t width, pair *to,
                              int64_t to_row)
{
    __m512i low = _mm512_setzero_si512();
    for (int i = LANES - 1; i >= 0; i--) /* 0, 32, 1, 33, ... */
        low = _mm512_alignr_epi32(low, _mm512_set1_epi32(i | (i + 32) << 16), 15);
    const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(LANES));
    for (int64_t r = 0; r < rows; r += 2)
        for (int64_t c = 0; c < width; c += 2 * LANES) {
            const __m512i a = _mm512_loadu_si512(from + r * row + c);
            const __m512i b = _mm512_loadu_si512(from + (r + 1) * row + c);
            pair *at = to + r / 2 * to_row + c;
            _mm512_storeu_si512(at, _mm512_permutex2var_epi16(a, low, b));
            _mm512_storeu_si512(at + LANES, _mm512_permutex2var_epi16(a, high, b));
        }
}

/* [rows][columns] to [columns][rows], both multiples of LANES. */
TARGET static void turn(const pair *from, int64_t row, int64_t rows, int64_t columns, pair *to,
                        int64_t to_row)
{
    for (int64_t r = 0; r < rows; r += LANES)
        for (int64_t c = 0; c < columns; c += LANES) {
            __m512 square[LANES];
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++)
                square[i] = _mm512_loadu_ps(from + (r + i) * row + c);
            transpose(square);
#pragma GCC unroll 16
            for (int i = 0; i < LANES; i++)
                _mm512_storeu_ps(to + (c + i) * to_row + r, square[i]);
        }
}

/* Rows of fp32, times a factor, rounded to those of a head. */
TARGET INLINE void round_row(const float *from, float factor, int64_t count, bf16 *to)
{
    const __m512 times = _mm512_set1_ps(factor);
    for (int64_t c = 0; c < count; c += LANES) {
        const __m512 sum = _mm512_mul_ps(_mm512_loadu_ps(from + c), times);
        _mm256_mask_storeu_epi16(to + c, first_lanes(count - c), (__m256i)_mm512_cvtneps_pbh(sum));
    }
}

#endif
