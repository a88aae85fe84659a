/* Products of bf16 matrices, by the instruction that adds two of them to each of sixteen fp32 sums
 * (AVX512_BF16). */
#ifndef BF16_MATRICES_H
#define BF16_MATRICES_H

#include "bf16_numbers.h"

enum {
    ROWS = 8,
    VECTORS = 2,
    DEPTH = 64,
    SIDE = 128
};

#include "vector_products.h"

#endif
