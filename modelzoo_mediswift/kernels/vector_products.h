/* Products of matrices by vectors.
 *
 * Before inclusion, after matrices.h:
 *   ROWS, VECTORS   of a product at a time, of columns the latter: sums that registers hold
 *   DEPTH           words of a row that are summed up before the sums are added to others
 */

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

/* The same for columns that are a multiple of LANES. */
TARGET INLINE void multiply_parts(const word *a, int64_t a_row, const word *b, int64_t b_row,
                                  int64_t depth, float *c, int64_t c_row, int64_t columns, int add)
{
    int64_t at = 0;
    for (; at + VECTORS * LANES <= columns; at += VECTORS * LANES)
        multiply_part(a, a_row, b + at, b_row, depth, c + at, c_row, add, VECTORS);
    if (at < columns)
        multiply_part(a, a_row, b + at, b_row, depth, c + at, c_row, add, 1);
}

/* C = A B, or C += A B: ROWS rows, `depth` words in each of A's, columns a multiple of LANES. */
TARGET INLINE void multiply_rows(const void *a, int64_t a_row, const word *b, int64_t b_row,
                                 int64_t depth, float *c, int64_t c_row, int64_t columns, int add)
{
    for (int64_t n = 0; n < depth; n += DEPTH)
        multiply_parts((const word *)a + n, a_row, b + n * b_row, b_row, least(DEPTH, depth - n), c,
                       c_row, columns, add || n);
}

/* Vectors need no preparation. */
INLINE void begin_products(void) {}
INLINE void end_products(void) {}
