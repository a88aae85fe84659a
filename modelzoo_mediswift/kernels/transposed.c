/* The transpose of a matrix of 16-bit numbers, on processors with AVX-512. */
#if defined(__x86_64__)
#include "sparse_linear.h"
#include "threads.h"

#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("avx512f,avx512bw")))

enum { SIDE = 32, ROUNDS = 5 }; /* a line of cache, and a register, has 32 numbers */

typedef struct {
    const uint16_t *x;
    uint16_t *y;
    int64_t rows, cols, stride;
} task;

TARGET static inline __mmask32 first(int64_t count) { return count < 32 ? (1u << count) - 1 : ~0u; }

/* A square of x, filled up with zeros, to rows of y: five times rows i and i + 16 are interleaved to
 * be rows 2i and 2i + 1, which moves a number's row into its column bit by bit. */
TARGET static inline void turn(const uint16_t *x, int64_t stride, int64_t rows, int64_t cols,
                               uint16_t *y, int64_t length)
{
    uint16_t low_places[SIDE], high_places[SIDE]; /* constants to the compiler */
    for (int i = 0; i < SIDE; i++) {
        low_places[i] = (uint16_t)(i / 2 + i % 2 * SIDE);
        high_places[i] = (uint16_t)(low_places[i] + SIDE / 2);
    }
    const __m512i low = _mm512_loadu_si512(low_places), high = _mm512_loadu_si512(high_places);
    __m512i row[SIDE], next[SIDE];
    for (int r = 0; r < SIDE; r++)
        row[r] = r < rows ? _mm512_maskz_loadu_epi16(first(cols), x + r * stride)
                          : _mm512_setzero_si512();
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < SIDE / 2; i++) {
            next[2 * i] = _mm512_permutex2var_epi16(row[i], low, row[i + SIDE / 2]);
            next[2 * i + 1] = _mm512_permutex2var_epi16(row[i], high, row[i + SIDE / 2]);
        }
        memcpy(row, next, sizeof row);
    }
    for (int c = 0; c < cols; c++) /* whole lines past the cache: they need not be read first */
        _mm512_stream_si512((__m512i *)(y + c * length), row[c]);
}

/* Rows of x in the order in which they lie: faster than squares of squares. */
TARGET static void turn_rows(void *what, int64_t item)
{
    const task *t = what;
    const int64_t r = item * SIDE, length = (t->rows + SIDE - 1) / SIDE * SIDE;
    for (int64_t c = 0; c < t->cols; c += SIDE)
        turn(t->x + r * t->stride + c, t->stride, least(SIDE, t->rows - r),
             least(SIDE, t->cols - c), t->y + c * length + r, length);
    _mm_sfence();
}

/* y[c][r] = x[r][c]; a row of x is `stride` numbers after the one before. Rows of y are filled up
 * with zeros to whole lines of cache, at which y begins. */
void mediswift_transpose(int threads, const uint16_t *x, int64_t rows, int64_t cols, int64_t stride,
                         uint16_t *y)
{
    task t = {x, y, rows, cols, stride};
    run_items(threads, (rows + SIDE - 1) / SIDE, turn_rows, &t);
}
#endif
