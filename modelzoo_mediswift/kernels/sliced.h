/* A sparse matrix for the product with a few tokens: each number is read once, so that memory's
 * speed is what counts and not arithmetic.
 *
 * It is sliced ELLPACK (Monakov, Lokhmotov and Avetisyan 2010): a slice is SLICE rows, one to a
 * lane, and a step is one number of each. In that format rows go through their non-zeros each at
 * its own pace, and inputs have to be gathered, which processors do slowly. Here the non-zeros of
 * a step lie within a WINDOW of inputs, so that one permutation of two registers brings them. The
 * window begins with the row that is furthest behind; a row without a non-zero in it waits, with a
 * value of zero. Of random places that leaves a seventh of the lanes idle at 75 % sparsity.
 */
#ifndef SLICED_H
#define SLICED_H

#include <stdint.h>

enum { SLICE = 16, WINDOW = 32 };

typedef struct {
    int64_t rows, cols;
    const int64_t *start; /* slices + 1: the first step of each */
    uint32_t *window;     /* steps: the first input of each */
    uint8_t *place;       /* [steps][SLICE]: an input's place in the window */
    float *values;        /* [steps][SLICE] */
} sliced_matrix;

#endif
