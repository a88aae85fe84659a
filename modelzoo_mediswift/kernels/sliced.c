/* The library's entries for sliced matrices. */
#include "sparse_linear.h"
#include "threads.h"

#include <stdlib.h>

enum { SLICES = 8 }; /* that a thread takes at a time */

typedef struct {
    const sparse_kernels *kernels;
    const uint8_t *mask;
    const float *weight, *bias, *x;
    float *y;
    const sliced_matrix *matrix;
    int64_t *counts;
    int64_t tokens;
    int failed;
} task;

static int64_t slices(const sliced_matrix *matrix) { return (matrix->rows + SLICE - 1) / SLICE; }

/* --- A mask to slices, in two passes: the first counts steps. */

static const uint32_t NONE = UINT32_MAX; /* beyond the last column */

/* The columns of each row's non-zeros, and NONE after the last; `columns` is [SLICE][cols + 1]. */
static void list_columns(const task *t, int64_t slice, uint32_t *columns)
{
    const int64_t rows = t->matrix->rows, cols = t->matrix->cols;
    for (int64_t row = slice * SLICE; row < (slice + 1) * SLICE; row++, columns += cols + 1) {
        int64_t n = 0;
        for (int64_t c = 0; row < rows && c < cols; c++) {
            columns[n] = (uint32_t)c;
            n += t->mask[row * cols + c];
        }
        columns[n] = NONE;
    }
}

static void fill_step(const task *t, int64_t slice, int64_t step, uint32_t window,
                      uint32_t *const *next)
{
    const sliced_matrix *to = t->matrix;
    to->window[step] = window;
    for (int64_t lane = 0; lane < SLICE; lane++) {
        const uint32_t column = *next[lane];
        const int there = column < window + WINDOW;
        to->place[step * SLICE + lane] = there ? (uint8_t)(column - window) : 0;
        to->values[step * SLICE + lane] =
            there ? t->weight[(slice * SLICE + lane) * to->cols + column] : 0.0f;
    }
}

static void walk(void *what, int64_t slice)
{
    task *t = what;
    const int64_t cols = t->matrix->cols;
    const uint32_t last_window = cols > WINDOW ? (uint32_t)(cols - WINDOW) : 0;
    uint32_t *columns = malloc((size_t)(SLICE * (cols + 1)) * sizeof *columns), *next[SLICE];
    if (!columns) {
        t->failed = 1;
        return;
    }
    list_columns(t, slice, columns);
    for (int64_t lane = 0; lane < SLICE; lane++)
        next[lane] = columns + lane * (cols + 1);
    int64_t steps = 0;
    for (;; steps++) {
        uint32_t window = NONE;
        for (int64_t lane = 0; lane < SLICE; lane++)
            window = *next[lane] < window ? *next[lane] : window;
        if (window == NONE)
            break;
        window = window < last_window ? window : last_window;
        if (!t->counts)
            fill_step(t, slice, t->matrix->start[slice] + steps, window, next);
        for (int64_t lane = 0; lane < SLICE; lane++)
            next[lane] += *next[lane] < window + WINDOW;
    }
    if (t->counts)
        t->counts[slice] = steps;
    free(columns);
}

/* How many steps each slice of a mask [rows][cols] takes. Returns 0 where memory ran out. */
int mediswift_count_steps(int threads, const uint8_t *mask, int64_t rows, int64_t cols,
                          int64_t *counts)
{
    const sliced_matrix shape = {.rows = rows, .cols = cols};
    task t = {.mask = mask, .matrix = &shape, .counts = counts};
    run_items(threads, slices(&shape), walk, &t);
    return !t.failed;
}

/* The rest of a matrix that has its starts. Returns 0 where memory ran out. */
int mediswift_fill_slices(int threads, const uint8_t *mask, const float *weight,
                          const sliced_matrix *matrix)
{
    task t = {.mask = mask, .weight = weight, .matrix = matrix};
    run_items(threads, slices(matrix), walk, &t);
    return !t.failed;
}

/* --- The product. */

static void multiply_item(void *what, int64_t item)
{
    const task *t = what;
    const int64_t last = least((item + 1) * SLICES, slices(t->matrix));
    for (int64_t slice = item * SLICES; slice < last; slice++)
        t->kernels->multiply_slice(t->matrix, t->bias, t->x, t->y, t->tokens, slice);
}

/* y[tokens][rows] = x[tokens][cols] W^T + bias in fp32. */
void mediswift_multiply_slices(int instructions, int threads, const sliced_matrix *matrix,
                               const float *bias, const float *x, float *y, int64_t tokens)
{
    task t = {.kernels = products_by(instructions), .matrix = matrix, .bias = bias, .x = x, .y = y,
              .tokens = tokens};
    run_items(threads, (slices(matrix) + SLICES - 1) / SLICES, multiply_item, &t);
}
