/* What the kernels that multiply bf16 share: for files that HAS_BF16_KERNELS lets compile. */
#ifndef AVX512_BF16_H
#define AVX512_BF16_H

#ifndef TARGET /* by a file that takes other instructions, too */
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")))
#endif
#define INLINE static inline __attribute__((always_inline))

#include "avx512.h"

typedef uint16_t bf16;
typedef int pair __attribute__((aligned(2), may_alias)); /* of them */

#endif
