/* Small products of matrices with fp32 sums, and how their factors are laid out.
 *
 * A product takes a "word" of 32 bits of its left factor's rows at a time, as they lie: two bf16
 * numbers or one of fp32. The right factor is made of words from as many of its rows side by side,
 * of bf16 a0 b0 a1 b1 ... Where the right factor is K^T that is K with words transposed.
 *
 * Before inclusion, by bf16_matrices.h or fp32_matrices.h:
 *   number, word, vector   the types of one number, of 32 bits of them, and of LANES words
 *   IN_WORD                numbers in a word
 *   ROWS, VECTORS          of a product at a time, of columns the latter: sums that registers hold
 *   load_words, repeat     a vector from memory; of one word
 *   load_first             a vector from `count` numbers, zero beyond
 *   add_products           to LANES sums, of the numbers of two vectors
 *   store_numbers, _first  LANES sums as numbers; `count` of them
 *   stack_rows             IN_WORD rows at a time to one of words: where they are then, which is not
 *                          in `to` if they can stay; the width is a multiple of IN_WORD * LANES
 */

#if defined(__clang__) /* which takes a number only for loops that are as long */
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* ROWS rows of A by `vectors` vectors of columns of B. The loops over the sums are unrolled, and
 * have no loops within them: so the sums stay in registers. */
TARGET INLINE void multiply_part(const word *a, int64_t a_row, const word *b, int64_t b_row,
                                 int64_t depth, float *c, int64_t c_row, int add, int vectors)
{
    __m512 sums[ROWS * VECTORS];
    UNROLL
    for (int i = 0; i < ROWS * vectors; i++)
        sums[i] = _mm512_setzero_ps();
    for (int64_t n = 0; n < depth; n++) {
        UNROLL
        for (int i = 0; i < ROWS * vectors; i++)
            sums[i] = add_products(sums[i], repeat(a[i / vectors * a_row + n]),
                                   load_words(b + n * b_row + i % vectors * LANES));
    }
    UNROLL
    for (int i = 0; i < ROWS * vectors; i++) {
        float *at = c + i / vectors * c_row + i % vectors * LANES;
        _mm512_storeu_ps(at, add ? _mm512_add_ps(_mm512_loadu_ps(at), sums[i]) : sums[i]);
    }
}

/* C = A B, or C += A B: ROWS rows, `depth` words in each of A's, columns a multiple of LANES. */
TARGET INLINE void multiply_rows(const void *a, int64_t a_row, const word *b, int64_t b_row,
                                 int64_t depth, float *c, int64_t c_row, int64_t columns, int add)
{
    int64_t at = 0;
    for (; at + VECTORS * LANES <= columns; at += VECTORS * LANES)
        multiply_part(a, a_row, b + at, b_row, depth, c + at, c_row, add, VECTORS);
    if (VECTORS > 2 && at + 2 * LANES <= columns) {
        multiply_part(a, a_row, b + at, b_row, depth, c + at, c_row, add, 2);
        at += 2 * LANES;
    }
    if (at < columns)
        multiply_part(a, a_row, b + at, b_row, depth, c + at, c_row, add, 1);
}

/* [rows][columns] to [columns][rows], both multiples of LANES. */
TARGET static void turn(const word *from, int64_t row, int64_t rows, int64_t columns, word *to,
                        int64_t to_row)
{
    for (int64_t r = 0; r < rows; r += LANES)
        for (int64_t c = 0; c < columns; c += LANES) {
            __m512 square[LANES];
            UNROLL
            for (int i = 0; i < LANES; i++)
                square[i] = _mm512_loadu_ps(from + (r + i) * row + c);
            transpose(square);
            UNROLL
            for (int i = 0; i < LANES; i++)
                _mm512_storeu_ps(to + (c + i) * to_row + r, square[i]);
        }
}

/* A row of sums, times a factor, to `count` numbers. */
TARGET INLINE void round_row(const float *from, float factor, int64_t count, number *to)
{
    const __m512 times = _mm512_set1_ps(factor);
    for (int64_t c = 0; c < count; c += LANES)
        store_first(to + c, count - c, _mm512_mul_ps(_mm512_loadu_ps(from + c), times));
}
