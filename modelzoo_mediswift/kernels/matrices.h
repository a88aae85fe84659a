/* Small products of matrices with fp32 sums: how their factors are laid out.
 *
 * A product takes a "word" of 32 bits of its left factor's rows at a time, as they lie: two bf16
 * numbers or one of fp32. The right factor is made of words from as many of its rows side by side,
 * of bf16 a0 b0 a1 b1 ... Where the right factor is K^T that is K with words transposed.
 *
 * Before inclusion, by fp32_matrices.h or bf16_numbers.h:
 *   number, word, vector   the types of one number, of 32 bits of them, and of LANES words
 *   IN_WORD                numbers in a word
 *   load_words, repeat     a vector from memory; of one word
 *   load_first             a vector from `count` numbers, zero beyond
 *   add_products           to LANES sums, of the numbers of two vectors
 *   store_first            `count` of LANES sums as numbers
 *   store_rows, _words     IN_WORD vectors of sums as rows of numbers; as one of words
 *   stack_rows             IN_WORD rows at a time to one of words: where they are then, which is not
 *                          in `to` if they can stay; the width is a multiple of IN_WORD * LANES
 * After it: vector_products.h or amx_matrices.h, which multiply.
 */

#if defined(__clang__) /* which takes a number only for loops that are as long */
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

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
