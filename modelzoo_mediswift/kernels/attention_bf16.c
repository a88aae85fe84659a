/* Causal attention in bf16, by the instruction that adds two products of bf16 numbers to each of
 * sixteen fp32 sums (AVX512_BF16). */
#include "attention.h"

#ifdef HAS_BF16_KERNELS
#include "bf16_matrices.h"

#include "attention_kernels.h"

const attention_kernels bf16_attention = {attend, differentiate};
#endif
