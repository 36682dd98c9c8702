// Random layers (kernels/random_layer.h) made in a GPU's memory, each word by a
// thread of its own.
#ifndef ANYPREC_KERNELS_CUDA_RANDOM_FILL_CUH_
#define ANYPREC_KERNELS_CUDA_RANDOM_FILL_CUH_

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/random_layer.h"
#include "kernels/types.h"

namespace anyprec {

// All of these enqueue on `stream` and may return before the memory is written.

// Plane `plane` of the layer in tile order (weight_tiles.h).
//   tiles  [TiledWords(n, k)]
cudaError_t FillRandomTiles(const RandomLayer& layer, int plane,
                            uint32_t* tiles, cudaStream_t stream);

// The layer's weights as int8.
//   words  [n * k / 4], four weights each
cudaError_t FillRandomInt8(const RandomLayer& layer, uint32_t* words,
                           cudaStream_t stream);

// The layer's weights as fp16.
//   table   [256], device memory: RandomCentroids(8, k)
//   values  [n * k], 8-byte aligned
cudaError_t FillRandomHalves(const RandomLayer& layer, const Float16* table,
                             Float16* values, cudaStream_t stream);

// `row` in the first `rows` rows, zeros in the rest.
//   row     [width], device memory
//   values  [padded_rows, width]
cudaError_t FillRows(const Float16* row, int width, int rows, int padded_rows,
                     Float16* values, cudaStream_t stream);

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CUDA_RANDOM_FILL_CUH_
