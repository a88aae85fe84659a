/* Causal attention in fp32, by AVX-512. */
#include "attention.h"

#if defined(__x86_64__)
#include "fp32_matrices.h"

#include "attention_kernels.h"

const attention_kernels fp32_attention = {attend, differentiate};
#endif
