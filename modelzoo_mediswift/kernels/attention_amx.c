/* Causal attention in bf16, by tiles (AMX). */
#include "attention.h"

#ifdef HAS_AMX_KERNELS
#include "amx_matrices.h"

#include "attention_kernels.h"

const attention_kernels amx_attention = {attend, differentiate};
#endif
