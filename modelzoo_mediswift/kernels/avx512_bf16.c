/* Products of bf16 numbers, summed in fp32, by the instruction that adds two of them to each sum
 * (AVX512_BF16). Like the dense products of that instruction it takes denormal numbers for zero.
 *
 * Two of a row's non-zeros are multiplied at a time, so the tokens of their inputs are brought side
 * by side: a0 b0 a1 b1 ... That is done within each quarter of a register, so that one sum has
 * tokens 0-3, 8-11, 16-19 and 24-27 of 32 and the next the others; rounding the sums to bf16 brings
 * them back in order.
 */
#include "sparse_linear.h"

#ifdef HAS_BF16_KERNELS
#include "avx512_bf16.h"

enum { HALF = 16, VECTOR = 2 * HALF }; /* tokens in a register of sums, and of inputs */

/* Written out and not a loop: compilers keep named variables in registers, arrays not always. */
#define EACH(DO) DO(0) DO(1) DO(2) DO(3)
_Static_assert(TILE == 4 * VECTOR, "EACH covers a tile");

/* A chunk has as many rows as a block has lines, so a line of the next block is asked for with each
 * row; a hint beyond the end does no harm. */
_Static_assert(CHUNK == BLOCK * TILE / VECTOR, "one line to a row");

INLINE void prefetch_line(const bf16 *block, int64_t line)
{
    __builtin_prefetch(block + line * VECTOR, 0, 2);
}

INLINE const bf16 *input(const bf16 *block, uint8_t offset)
{
    return block + (size_t)offset * TILE;
}

/* What is used twice is loaded once: compilers would make each use an operand in memory, and it is
 * loads that these products wait for. */
TARGET INLINE __m512i in_register(const bf16 *from)
{
    __m512i loaded = _mm512_loadu_si512(from);
    __asm__("" : "+v"(loaded));
    return loaded;
}

/* What is used once is such an operand, which not all compilers know to be possible here. */
TARGET INLINE __m512 add_products(__m512 sum, __m512bh a, const bf16 *b)
{
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "m"(*(const __m512i_u *)b));
    return sum;
}

TARGET INLINE __m512bh load(const bf16 *from) { return (__m512bh)_mm512_loadu_si512(from); }

#define START(j) __m512 low##j = _mm512_set1_ps(initial), high##j = low##j;
#define LOAD(j)                                                                                    \
    __m512 low##j = _mm512_load_ps(sums + VECTOR * j),                                             \
           high##j = _mm512_load_ps(sums + VECTOR * j + HALF);
#define ADD_PRODUCTS(j)                                                                            \
    {                                                                                              \
        const __m512i a = in_register(in0 + VECTOR * j), b = in_register(in1 + VECTOR * j);        \
        low##j = _mm512_dpbf16_ps(low##j, (__m512bh)_mm512_unpacklo_epi16(a, b), weights);         \
        high##j = _mm512_dpbf16_ps(high##j, (__m512bh)_mm512_unpackhi_epi16(a, b), weights);       \
    }
#define STORE(j)                                                                                   \
    _mm512_store_ps(sums + VECTOR * j, low##j);                                                    \
    _mm512_store_ps(sums + VECTOR * j + HALF, high##j);
#define ROUND(j)                                                                                   \
    {                                                                                              \
        const __m512i halves = (__m512i)_mm512_cvtne2ps_pbh(high##j, low##j);                      \
        _mm512_storeu_si512(out + VECTOR * j, _mm512_permutexvar_epi64(order, halves));            \
    }

static const bf16 zeros[TILE];

/* The non-zeros of one row in one block of columns. */
#define WALK(n, end, x)                                                                            \
    for (; n + 2 <= end; n += 2) {                                                                 \
        const bf16 *in0 = input(x, offset[n]), *in1 = input(x, offset[n + 1]);                     \
        const __m512bh weights = (__m512bh)_mm512_set1_epi32(*(const pair *)(values + n));         \
        EACH(ADD_PRODUCTS)                                                                         \
    }                                                                                              \
    if (n < end) { /* one is left */                                                               \
        const bf16 *in0 = input(x, offset[n]), *in1 = zeros;                                       \
        const __m512bh weights = (__m512bh)_mm512_set1_epi32(values[n]);                           \
        EACH(ADD_PRODUCTS)                                                                         \
    }

/* The rows of one chunk times a block of columns, or times it and the next: sums are loaded and
 * stored half as often, and two blocks of bf16 fill the cache as one of fp32 does. The last block's
 * sums are the results. */
TARGET INLINE void multiply_blocks(const sparse_list *w, const bf16 *values, const float *bias,
                                   const bf16 *x, float *sums, bf16 *y, int64_t block, int two,
                                   int64_t first_row, int64_t last_row)
{
    const uint32_t *start = w->start + block * w->rows;
    const uint8_t *offset = w->offset;
    const __m512i order = _mm512_set_epi64(7, 3, 6, 2, 5, 1, 4, 0);
    const bf16 *next_x = x + BLOCK * TILE;
    const int last = block + 1 + two == blocks(w->cols);
    for (int64_t row = first_row; row < last_row; row++, sums += TILE) {
        uint32_t n = start[row], next_n = two ? start[w->rows + row] : 0;
        const uint32_t end = start[row + 1], next_end = two ? start[w->rows + row + 1] : 0;
        bf16 *out = y + row * TILE;
        prefetch_line(x + (1 + two) * BLOCK * TILE, row - first_row);
        if (two)
            prefetch_line(x + 3 * BLOCK * TILE, row - first_row);
#define REST                                                                                       \
    WALK(n, end, x)                                                                                \
    WALK(next_n, next_end, next_x)                                                                 \
    if (last) {                                                                                    \
        EACH(ROUND)                                                                                \
    } else {                                                                                       \
        EACH(STORE)                                                                                \
    }
        if (block == 0) {
            const float initial = bias ? bias[row] : 0.0f;
            EACH(START)
            REST
        } else if (last || n < end || next_n < next_end) {
            EACH(LOAD)
            REST
        }
    }
}

TARGET static void multiply(const sparse_list *w, const void *values, const float *bias,
                            const void *x, void *y, int64_t first_row, int64_t last_row)
{
    float sums[CHUNK * TILE] __attribute__((aligned(64)));
    for (int64_t block = 0; block < blocks(w->cols); block += 2) {
        const bf16 *in = (const bf16 *)x + block * BLOCK * TILE;
        if (block + 1 < blocks(w->cols))
            multiply_blocks(w, values, bias, in, sums, y, block, 1, first_row, last_row);
        else
            multiply_blocks(w, values, bias, in, sums, y, block, 0, first_row, last_row);
    }
}

#define HOLD(j) const __m512bh d##j = load(out + VECTOR * j);
#define HOLD_NEXT(j) const __m512bh e##j = load(out + next_out + VECTOR * j);
#define FOUR_OF(held, j)                                                                           \
    s0 = add_products(s0, held, in0 + VECTOR * j);                                                 \
    s1 = add_products(s1, held, in1 + VECTOR * j);                                                 \
    s2 = add_products(s2, held, in2 + VECTOR * j);                                                 \
    s3 = add_products(s3, held, in3 + VECTOR * j);
#define FOUR(j) FOUR_OF(d##j, j)
#define FOUR_NEXT(j) FOUR_OF(e##j, j)
#define ONE(j) s##j = add_products(s##j, d##j, in + VECTOR * j);
#define ONE_NEXT(j) s##j = add_products(s##j, e##j, in + VECTOR * j);

/* Four non-zeros at a time and then one by one, for one tile or for it and the next: the fewer sums
 * across registers the better. Tokens side by side need no bringing together here. */
TARGET INLINE void gradient_block(const sparse_list *w, const bf16 *dy, const bf16 *x, int two,
                                  float *gradient, int64_t block, int64_t first_row,
                                  int64_t last_row, int add)
{
    const uint32_t *start = w->start + block * w->rows;
    const uint8_t *offset = w->offset;
    const int64_t next_out = two ? w->rows * TILE : 0, next_in = w->cols * TILE;
    for (int64_t row = first_row; row < last_row; row++) {
        const int64_t end = start[row + 1];
        const bf16 *out = dy + row * TILE;
        prefetch_line(x + BLOCK * TILE, row - first_row);
        prefetch_line(x + next_in + BLOCK * TILE, row - first_row);
        EACH(HOLD)
        EACH(HOLD_NEXT)
        int64_t n = start[row];
        for (; n + 4 <= end; n += 4) {
            const bf16 *in0 = input(x, offset[n]), *in1 = input(x, offset[n + 1]);
            const bf16 *in2 = input(x, offset[n + 2]), *in3 = input(x, offset[n + 3]);
            __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
            EACH(FOUR)
            if (two) {
                in0 += next_in, in1 += next_in, in2 += next_in, in3 += next_in;
                EACH(FOUR_NEXT)
            }
            __m128 sums = four_sums(s0, s1, s2, s3);
            if (add)
                sums = _mm_add_ps(sums, _mm_loadu_ps(gradient + n));
            _mm_storeu_ps(gradient + n, sums);
        }
        for (; n < end; n++) {
            const bf16 *in = input(x, offset[n]);
            __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
            EACH(ONE)
            if (two) {
                in += next_in;
                EACH(ONE_NEXT)
            }
            const float sum =
                _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3)));
            gradient[n] = add ? gradient[n] + sum : sum;
        }
    }
}

TARGET static void gradient(const sparse_list *w, const void *dy, const void *x, int64_t tiles,
                            float *gradient, int64_t first_row, int64_t last_row,
                            int64_t first_block, int64_t last_block)
{
    for (int64_t tile = 0; tile < tiles; tile += 2)
        for (int64_t block = first_block; block < last_block; block++) {
            const bf16 *out = (const bf16 *)dy + tile * w->rows * TILE;
            const bf16 *in = (const bf16 *)x + (tile * w->cols + block * BLOCK) * TILE;
            if (tile + 1 < tiles)
                gradient_block(w, out, in, 1, gradient, block, first_row, last_row, tile > 0);
            else
                gradient_block(w, out, in, 0, gradient, block, first_row, last_row, tile > 0);
        }
}

TARGET static void token_sums(const void *x, int64_t tiles, int64_t features, float *sums)
{
    const __m512bh ones = (__m512bh)_mm512_set1_epi16(0x3f80);
    for (int64_t feature = 0; feature < features; feature++) {
        __m512 sum = _mm512_setzero_ps();
        for (int64_t tile = 0; tile < tiles; tile++) {
            const bf16 *from = (const bf16 *)x + (tile * features + feature) * TILE;
            for (int token = 0; token < TILE; token += VECTOR)
                sum = _mm512_dpbf16_ps(sum, load(from + token), ones);
        }
        sums[feature] = _mm512_reduce_add_ps(sum);
    }
}

/* Neighbouring tokens are one number of 32 bits while rows and columns change places. */
TARGET static void pack(const void *x, int is_bf16, int64_t tokens, int64_t features, void *tile)
{
    bf16 *to = tile;
    for (int64_t token = 0; token < TILE; token += VECTOR)
        for (int64_t feature = 0; feature < features; feature += 16) {
            const __mmask16 there = first_lanes(features - feature);
            __m512 row[16];
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++) {
                __m512i of[2];
                for (int64_t k = 0; k < 2; k++) {
                    const int64_t t = token + 2 * i + k, at = t * features + feature;
                    const __mmask16 mask = t < tokens ? there : 0;
                    const __m256i half =
                        is_bf16 ? _mm256_maskz_loadu_epi16(mask, (const bf16 *)x + at)
                                : (__m256i)_mm512_cvtneps_pbh(
                                      _mm512_maskz_loadu_ps(mask, (const float *)x + at));
                    of[k] = _mm512_cvtepu16_epi32(half);
                }
                row[i] = (__m512)_mm512_or_si512(of[0], _mm512_slli_epi32(of[1], 16));
            }
            transpose(row);
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++)
                if (feature + i < features)
                    _mm512_storeu_ps(to + (feature + i) * TILE + token, row[i]);
        }
}

TARGET static void unpack(const void *tile, int is_bf16, int64_t tokens, int64_t features, void *x)
{
    const bf16 *from = tile;
    for (int64_t token = 0; token < tokens; token += VECTOR)
        for (int64_t feature = 0; feature < features; feature += 16) {
            const __mmask16 there = first_lanes(features - feature);
            __m512 row[16];
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++)
                row[i] = feature + i < features
                             ? _mm512_loadu_ps(from + (feature + i) * TILE + token)
                             : _mm512_setzero_ps();
            transpose(row);
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++)
                for (int64_t k = 0; k < 2; k++) {
                    const int64_t t = token + 2 * i + k, at = t * features + feature;
                    const __m512i bits = k ? _mm512_srli_epi32((__m512i)row[i], 16)
                                           : _mm512_and_si512((__m512i)row[i],
                                                              _mm512_set1_epi32(0xffff));
                    const __mmask16 mask = t < tokens ? there : 0;
                    if (is_bf16)
                        _mm256_mask_storeu_epi16((bf16 *)x + at, mask,
                                                 _mm512_cvtepi32_epi16(bits));
                    else
                        _mm512_mask_storeu_ps((float *)x + at, mask,
                                              (__m512)_mm512_slli_epi32(bits, 16));
                }
        }
}

TARGET static void arrange(const sparse_list *w, const float *values, void *arranged, int64_t block)
{
    const uint32_t *start = w->start + block * w->rows;
    for (int64_t row = 0; row < w->rows; row++) {
        const uint32_t first = start[row], count = start[row + 1] - first;
        float part[BLOCK];
        const float *from = first_value(w, values, block, row);
        for (uint32_t n = 0; n < count; n++)
            part[n] = from[w->place ? w->place[first + n] : first + n];
        for (uint32_t n = 0; n < count; n += 16) {
            const __mmask16 there = first_lanes((int64_t)count - n);
            const __m512 sixteen = _mm512_maskz_loadu_ps(there, part + n);
            _mm256_mask_storeu_epi16((bf16 *)arranged + first + n, there,
                                     (__m256i)_mm512_cvtneps_pbh(sixteen));
        }
    }
}

const sparse_kernels bf16_kernels = {
    .number = sizeof(bf16),
    .multiply = multiply,
    .gradient = gradient,
    .pack = pack,
    .unpack = unpack,
    .arrange = arrange,
    .token_sums = token_sums,
};
#endif
