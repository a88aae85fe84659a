/* The library's entries for sparse matrices: lists made from a mask, and the kernels run on several
 * threads.
 *
 * Plain C without headers of Python or PyTorch, called through ctypes: one build serves every
 * version of either.
 */
#include "sparse_linear.h"
#include "threads.h"

#ifdef HAS_BF16_KERNELS
#include <cpuid.h>
#endif

/* --- Kernels, by number: 0 portable, 1 AVX2, 2 AVX-512, all of fp32; 3 AVX-512 of bf16. */

#ifdef HAS_BF16_KERNELS
static int multiplies_bf16(void)
{
    unsigned a, b, c, d; /* older compilers have no name for this feature */
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1 << 5);
}
#endif

int mediswift_best_instructions(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
#ifdef HAS_BF16_KERNELS
        if (multiplies_bf16())
            return 3;
#endif
        return 2;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return 1;
#endif
    return 0;
}

static const sparse_kernels *kernels(int instructions)
{
#ifdef HAS_BF16_KERNELS
    if (instructions == 3)
        return &bf16_kernels;
#endif
#if defined(__x86_64__)
    if (instructions == 2)
        return &avx512_kernels;
    if (instructions == 1)
        return &avx2_kernels;
#endif
    (void)instructions;
    return &portable_kernels;
}

/* --- Lists. */

/* The lists of W and of its transpose from a mask [rows][cols]; the arrays are the caller's. */
void mediswift_make_lists(const uint8_t *mask, int64_t rows, int64_t cols, uint32_t *start,
                          uint8_t *offset, uint32_t *turned_start, uint8_t *turned_offset,
                          uint16_t *turned_place)
{
    uint32_t n = 0;
    for (int64_t block = 0; block < blocks(cols); block++)
        for (int64_t row = 0; row < rows; row++) {
            start[block * rows + row] = n;
            for (int64_t c = block * BLOCK; c < least(cols, (block + 1) * BLOCK); c++)
                if (mask[row * cols + c])
                    offset[n++] = (uint8_t)(c - block * BLOCK);
        }
    start[blocks(cols) * rows] = n;

    n = 0;
    for (int64_t square_row = 0; square_row < blocks(rows); square_row++) {
        const int64_t first = square_row * BLOCK, last = least(rows, first + BLOCK);
        for (int64_t block = 0; block < blocks(cols); block++) {
            const uint32_t *part = start + block * rows;
            uint32_t reached[BLOCK]; /* of each row, the next non-zero */
            for (int64_t row = first; row < last; row++)
                reached[row - first] = part[row];
            for (int64_t c = block * BLOCK; c < least(cols, (block + 1) * BLOCK); c++) {
                turned_start[square_row * cols + c] = n;
                for (int64_t row = first; row < last; row++)
                    if (mask[row * cols + c]) {
                        turned_place[n] = (uint16_t)(reached[row - first]++ - part[first]);
                        turned_offset[n++] = (uint8_t)(row - first);
                    }
            }
        }
    }
    turned_start[blocks(rows) * cols] = n;
}

/* values[n] = dense[row][column], or the other way round where `spread`; the others are left. */
void mediswift_move(float *dense, int64_t rows, int64_t cols, const uint32_t *start,
                    const uint8_t *offset, float *values, int spread)
{
    for (int64_t block = 0; block < blocks(cols); block++)
        for (int64_t row = 0; row < rows; row++)
            for (uint32_t n = start[block * rows + row]; n < start[block * rows + row + 1]; n++) {
                float *at = dense + row * cols + block * BLOCK + offset[n];
                if (spread)
                    *at = values[n];
                else
                    values[n] = *at;
            }
}

/* --- The products. */

typedef struct {
    const sparse_kernels *kernels;
    const sparse_list *list;
    const float *bias;
    const void *values, *x;
    void *y;
    int64_t chunks, tokens, features, groups, tiles;
    int bf16; /* the numbers in rows of tokens */
} task;

static const void *in(const task *t, int64_t numbers)
{
    return (const char *)t->x + numbers * t->kernels->number;
}

static void *out(const task *t, int64_t numbers)
{
    return (char *)t->y + numbers * t->kernels->number;
}

static void multiply_item(void *what, int64_t item)
{
    const task *t = what;
    const int64_t tile = item / t->chunks, row = item % t->chunks * CHUNK;
    t->kernels->multiply(t->list, t->values, t->bias, in(t, tile * t->list->cols * TILE),
                         out(t, tile * t->list->rows * TILE), row,
                         least(row + CHUNK, t->list->rows));
}

/* Packed y = W x + bias, for values as `arrange` gives them. */
void mediswift_multiply(int instructions, int threads, const sparse_list *list,
                        const void *values, const float *bias, const void *x, void *y,
                        int64_t tiles)
{
    const int64_t chunks = (list->rows + CHUNK - 1) / CHUNK;
    task t = {.kernels = kernels(instructions), .list = list, .values = values, .bias = bias,
              .x = x, .y = y, .chunks = chunks};
    run_items(threads, tiles * chunks, multiply_item, &t);
}

static void gradient_item(void *what, int64_t item)
{
    const task *t = what;
    const int64_t row = item / t->groups * CHUNK, group = item % t->groups;
    const int64_t all = blocks(t->list->cols);
    t->kernels->gradient(t->list, t->values, t->x, t->tiles, t->y, row,
                         least(row + CHUNK, t->list->rows), all * group / t->groups,
                         all * (group + 1) / t->groups);
}

/* gradient[n] = sum over all tokens of dy x at the non-zeros. */
void mediswift_gradient(int instructions, int threads, const sparse_list *list, const void *dy,
                        const void *x, float *gradient, int64_t tiles)
{
    const int64_t chunks = (list->rows + CHUNK - 1) / CHUNK;
    const int64_t wanted = (4 * (int64_t)threads + chunks - 1) / chunks; /* work for all threads */
    task t = {.kernels = kernels(instructions), .list = list, .values = dy, .x = x,
              .y = gradient, .tiles = tiles,
              .groups = least(threads > 1 ? wanted : 1, blocks(list->cols))};
    run_items(threads, chunks * t.groups, gradient_item, &t);
}

static void arrange_item(void *what, int64_t block)
{
    const task *t = what;
    t->kernels->arrange(t->list, t->values, t->y, block);
}

/* A matrix's values as the products with it, or with its transpose, take them. */
void mediswift_arrange(int instructions, int threads, const sparse_list *list, const float *values,
                       void *arranged)
{
    task t = {.kernels = kernels(instructions), .list = list, .values = values, .y = arranged};
    run_items(threads, blocks(list->cols), arrange_item, &t);
}

/* sums[feature] = sum over all tokens of packed bf16. Short enough for one thread. */
void mediswift_token_sums(int instructions, const void *x, int64_t tiles, int64_t features,
                          float *sums)
{
    kernels(instructions)->token_sums(x, tiles, features, sums);
}

static void one_token_item(void *what, int64_t item)
{
    const task *t = what;
    const int64_t row = item * FEW_ROWS;
    for (int64_t token = 0; token < t->tokens; token++)
        t->kernels->one_token(t->list, t->values, t->bias, in(t, token * t->list->cols),
                              out(t, token * t->list->rows), row,
                              least(row + FEW_ROWS, t->list->rows));
}

/* y[tokens][rows] = x[tokens][cols] W^T + bias in fp32, neither packed; for a few tokens. */
void mediswift_few_tokens(int instructions, int threads, const sparse_list *list,
                          const float *values, const float *bias, const float *x, float *y,
                          int64_t tokens)
{
    task t = {.kernels = kernels(instructions), .list = list, .values = values, .bias = bias,
              .x = x, .y = y, .tokens = tokens};
    run_items(threads, (list->rows + FEW_ROWS - 1) / FEW_ROWS, one_token_item, &t);
}

static int64_t row_bytes(const task *t) { return t->features * (t->bf16 ? 2 : 4); }

static void pack_item(void *what, int64_t tile)
{
    const task *t = what;
    const int64_t first = tile * TILE;
    t->kernels->pack((const char *)t->x + first * row_bytes(t), t->bf16,
                     least(TILE, t->tokens - first), t->features, out(t, first * t->features));
}

static void unpack_item(void *what, int64_t tile)
{
    const task *t = what;
    const int64_t first = tile * TILE;
    t->kernels->unpack(in(t, first * t->features), t->bf16, least(TILE, t->tokens - first),
                       t->features, (char *)t->y + first * row_bytes(t));
}

/* Rows of tokens, fp32 or bf16, to tiles. */
void mediswift_pack(int instructions, int threads, const void *rows, int bf16, int64_t tokens,
                    int64_t features, void *tiles)
{
    task t = {.kernels = kernels(instructions), .x = rows, .bf16 = bf16, .tokens = tokens,
              .features = features, .y = tiles};
    run_items(threads, (tokens + TILE - 1) / TILE, pack_item, &t);
}

/* Tiles to rows of tokens. */
void mediswift_unpack(int instructions, int threads, const void *tiles, int bf16, int64_t tokens,
                      int64_t features, void *rows)
{
    task t = {.kernels = kernels(instructions), .y = rows, .bf16 = bf16, .tokens = tokens,
              .features = features, .x = tiles};
    run_items(threads, (tokens + TILE - 1) / TILE, unpack_item, &t);
}
