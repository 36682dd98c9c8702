// Causal grouped-query attention over the paged cache.
//
// The queries of one kv head that stand next to each other, up to as many as a
// product kernel takes at a time, are one tile of work: scores of 128 keys as a
// product of queries and key panels, a step of the online softmax, and a
// product of the weights and the values. The queries of a decode step are a
// tile of one group, those of a prompt several positions of it.
//
// A query takes its keys in the same chunks and the same order whatever else
// stands in its tile, so that its result is a function of the cache and itself.
#ifndef ANYPREC_KERNELS_CPU_ATTENTION_H_
#define ANYPREC_KERNELS_CPU_ATTENTION_H_

#include <span>

#include "kernels/backend.h"
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/paged_kv.h"
#include "kernels/cpu/thread_pool.h"

namespace anyprec {

// Backend::RopeAndAppendKv.
void RopeAndAppend(ThreadPool& pool, const CpuKernels& kernels,
                   const AttentionShape& shape,
                   std::span<const SequenceRows> sequences, const float* rope,
                   int layer, PagedKv& kv, float* qkv);

// Backend::Attention.
void PagedAttention(ThreadPool& pool, const CpuKernels& kernels,
                    const AttentionShape& shape,
                    std::span<const SequenceRows> sequences, int layer,
                    const PagedKv& kv, const float* qkv, float* y);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CPU_ATTENTION_H_
