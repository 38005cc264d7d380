// How kernels are launched: by nvcc on a stream, or by the emulation (tests) in an order of its choice.
#pragma once
#ifdef MEDSEG_CUDA_EMULATION
#include "cuda_emulation.h"
#define MS_LAUNCH(kernel, grid, block, stream, ...) \
  ((void)(stream), medseg_emulation::launch(grid, block, [=] { MS_UNWRAP kernel(__VA_ARGS__); }))
#else
#define MS_LAUNCH(kernel, grid, block, stream, ...) MS_UNWRAP kernel<<<grid, block, 0, stream>>>(__VA_ARGS__)
#endif
#define MS_UNWRAP(...) __VA_ARGS__  // kernels are given in parentheses: template arguments hold commas

#include "../common/better_score.h"
#include "../common/patch_grid.h"

namespace medseg {

constexpr int kThreads = 256;

// Blocks of a grid-stride loop over n items.
inline unsigned blocks_for(int64_t n) {
  const int64_t blocks = (n + kThreads - 1) / kThreads;
  return (unsigned)(blocks < 1 ? 1 : blocks > 65535 ? 65535 : blocks);
}

// Grid dimensions y and z end at 65535; kernels walk on from there.
inline unsigned clamp_grid(int64_t n) { return (unsigned)(n > 65535 ? 65535 : n); }

}  // namespace medseg
