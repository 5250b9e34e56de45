#pragma once
// Compiled for several instruction sets, chosen when the library is loaded. Where nothing is reassociated or
// contracted, all give the same bits.
#if defined(__x86_64__) && defined(__clang__)
#define DTK_VECTORISED __attribute__((target_clones("avx512f", "avx2", "default")))
#elif defined(__x86_64__) && defined(__GNUC__)
#define DTK_VECTORISED __attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3")))
#else
#define DTK_VECTORISED
#endif
