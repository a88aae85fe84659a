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
#ifdef HAS_AMX_KERNELS
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* --- Kernels, by number. */

#ifdef HAS_BF16_KERNELS
static int multiplies_bf16(void)
{
    unsigned a, b, c, d; /* older compilers have no name for this feature */
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1 << 5);
}
#endif

#ifdef HAS_AMX_KERNELS
/* Whether the processor has tiles, the system keeps them between threads, and this process may use
 * them: Linux wants to be asked, since a thread's state grows by 8 KiB. */
static int may_use_tiles(void)
{
    enum { BF16 = 1 << 22, TILES = 1 << 24, XGETBV = 1 << 27, STATES = 1 << 17 | 1 << 18 };
    enum { ASK_FOR_STATE = 0x1023, TILE_DATA = 18 }; /* ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA */
    unsigned a, b, c, d, enabled, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & XGETBV) ||
        !__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & (BF16 | TILES)) != (BF16 | TILES))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(enabled), "=d"(high) : "c"(0));
    return (enabled & STATES) == STATES && !syscall(SYS_arch_prctl, ASK_FOR_STATE, TILE_DATA);
}
#endif

int mediswift_best_instructions(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
#ifdef HAS_BF16_KERNELS
        if (multiplies_bf16()) {
#ifdef HAS_AMX_KERNELS
            if (may_use_tiles())
                return 4;
#endif
            return 3;
        }
#endif
        return 2;
    }
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return 1;
#endif
    return 0;
}

const sparse_kernels *products_by(int instructions)
{
#ifdef HAS_BF16_KERNELS
    if (instructions >= 3)
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

enum { ROWS_AHEAD = 16 }; /* rows lie far apart, which processors do not foresee */

/* The list of a mask [rows][cols]; the arrays are the caller's, `offset` has room for one more than
 * there are non-zeros: writing it before knowing whether it stays saves a branch, which random
 * masks make the processor guess wrong. */
void mediswift_make_list(const uint8_t *mask, int64_t rows, int64_t cols, uint32_t *start,
                         uint8_t *offset)
{
    uint32_t n = 0;
    for (int64_t block = 0; block < blocks(cols); block++) {
        const int64_t width = least(BLOCK, cols - block * BLOCK);
        for (int64_t row = 0; row < rows; row++) {
            const uint8_t *part = mask + row * cols + block * BLOCK;
            __builtin_prefetch(part + ROWS_AHEAD * cols); /* beyond the end it does no harm */
            start[block * rows + row] = n;
            for (int64_t c = 0; c < width; c++) {
                offset[n] = (uint8_t)c;
                n += part[c];
            }
        }
    }
    start[blocks(cols) * rows] = n;
}

/* The list of the transposed matrix. Square by square, non-zeros are counted into its rows; the
 * rows of the matrix come in order, and so do those that land in one of the transposed. */
void mediswift_turn_list(const sparse_list *list, uint32_t *start, uint8_t *offset,
                         uint16_t *place)
{
    const int64_t rows = list->rows, cols = list->cols;
    uint32_t n = 0;
    for (int64_t square_row = 0; square_row < blocks(rows); square_row++) {
        const int64_t first = square_row * BLOCK, last = least(rows, first + BLOCK);
        for (int64_t block = 0; block < blocks(cols); block++) {
            const uint32_t *part = list->start + block * rows;
            const uint32_t square_start = part[first], square_end = part[last];
            uint32_t next[BLOCK] = {0}; /* first counts, then where a column's next goes */
            for (uint32_t at = square_start; at < square_end; at++)
                next[list->offset[at]]++;
            for (int64_t c = 0; c < least(BLOCK, cols - block * BLOCK); c++) {
                const uint32_t count = next[c];
                start[square_row * cols + block * BLOCK + c] = next[c] = n;
                n += count;
            }
            for (int64_t row = first; row < last; row++)
                for (uint32_t at = part[row]; at < part[row + 1]; at++) {
                    const uint32_t to = next[list->offset[at]]++;
                    offset[to] = (uint8_t)(row - first);
                    place[to] = (uint16_t)(at - square_start);
                }
        }
    }
    start[blocks(rows) * cols] = n;
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
    task t = {.kernels = products_by(instructions), .list = list, .values = values, .bias = bias,
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
    task t = {.kernels = products_by(instructions), .list = list, .values = dy, .x = x,
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
    task t = {.kernels = products_by(instructions), .list = list, .values = values, .y = arranged};
    run_items(threads, blocks(list->cols), arrange_item, &t);
}

/* sums[feature] = sum over all tokens of packed bf16. Short enough for one thread. */
void mediswift_token_sums(int instructions, const void *x, int64_t tiles, int64_t features,
                          float *sums)
{
    products_by(instructions)->token_sums(x, tiles, features, sums);
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
    task t = {.kernels = products_by(instructions), .x = rows, .bf16 = bf16, .tokens = tokens,
              .features = features, .y = tiles};
    run_items(threads, (tokens + TILE - 1) / TILE, pack_item, &t);
}

/* Tiles to rows of tokens. */
void mediswift_unpack(int instructions, int threads, const void *tiles, int bf16, int64_t tokens,
                      int64_t features, void *rows)
{
    task t = {.kernels = products_by(instructions), .y = rows, .bf16 = bf16, .tokens = tokens,
              .features = features, .x = tiles};
    run_items(threads, (tokens + TILE - 1) / TILE, unpack_item, &t);
}
