// The sequences of run_tile_conv.cuh that block_conv and quadtree_conv share, compiled once, in tile_conv.cu.
#pragma once
#include "run_tile_conv.cuh"
#include "workspace.h"

#define MS_TILE_CONV(prefix, T, A)                                                                                             \
  prefix template void run_pack_weight<T>(cudaStream_t, const A*, const WeightShape&, bool, T*);                               \
  prefix template void run_tile_conv<T>(cudaStream_t, const ConvSizes&, bool, const ConvCall<T>&);                             \
  prefix template void run_weight_gradient<T>(cuda::Workspace&, cudaStream_t, const ConvSizes&, const int32_t*, int64_t,       \
                                              const TileSource<T>&, const TileSource<T>&, A*);                                 \
  prefix template void run_channel_sums<T>(cuda::Workspace&, cudaStream_t, const BlockGrid&, const int32_t*, int64_t,          \
                                           const TileSource<T>&, int64_t, A*);

#define MS_INPUT_GRADIENT(prefix, T, M)                                                                                        \
  prefix template void run_input_gradient<T, M>(cuda::Workspace&, cudaStream_t, const ConvSizes&, const int32_t*, int64_t,     \
                                                const int32_t*, const TileSource<T>&, const T*, bool, const TileView<M>&);

#define MS_TILE_CONV_INSTANCES(prefix)                  \
  MS_TILE_CONV(prefix, float, float)                    \
  MS_TILE_CONV(prefix, double, double)                  \
  MS_TILE_CONV(prefix, __nv_bfloat16, float)            \
  MS_TILE_CONV(prefix, __half, float)                   \
  MS_INPUT_GRADIENT(prefix, float, float)               \
  MS_INPUT_GRADIENT(prefix, double, double)             \
  MS_INPUT_GRADIENT(prefix, __nv_bfloat16, __nv_bfloat16) \
  MS_INPUT_GRADIENT(prefix, __nv_bfloat16, float)       \
  MS_INPUT_GRADIENT(prefix, __half, __half)             \
  MS_INPUT_GRADIENT(prefix, __half, float)

#ifndef MS_TILE_CONV_DEFINED
namespace medseg {
MS_TILE_CONV_INSTANCES(extern)
}  // namespace medseg
#endif
