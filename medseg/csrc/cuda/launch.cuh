// How kernels are launched: by CUDA on a stream, or by the emulation of the tests in the order of threads that a test chooses.
#pragma once
#ifdef MEDSEG_CUDA_EMULATION
#include "cuda_emulation.h"
#define MS_LAUNCH_SHARED(kernel, grid, block, bytes, stream, ...) \
  ((void)(stream), medseg_emulation::launch(grid, block, bytes, [=] { MS_UNWRAP kernel(__VA_ARGS__); }))
#define MS_DYNAMIC_SHARED(name) unsigned char* const name = reinterpret_cast<unsigned char*>(medseg_emulation::dynamic_shared->bytes)
#define MS_CHECK_ALIGNMENT(pointer, bytes) medseg_emulation::check_alignment(pointer, bytes)
#else
#define MS_LAUNCH_SHARED(kernel, grid, block, bytes, stream, ...) \
  MS_UNWRAP kernel<<<grid, block, bytes, stream>>>(__VA_ARGS__)
#define MS_DYNAMIC_SHARED(name) extern __shared__ __align__(128) unsigned char name[]
#define MS_CHECK_ALIGNMENT(pointer, bytes) ((void)0)
#endif
#define MS_LAUNCH(kernel, grid, block, stream, ...) MS_LAUNCH_SHARED(kernel, grid, block, 0, stream, __VA_ARGS__)
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

// Grid dimensions y and z are limited to 65535; kernels loop over the rest.
inline unsigned clamp_grid(int64_t n) { return (unsigned)(n > 65535 ? 65535 : n); }

// A pointer for accesses as wide as V; the emulation checks that it is aligned for them.
template <class V, class T>
__device__ __forceinline__ V* vector_pointer(T* pointer) {
  MS_CHECK_ALIGNMENT(pointer, sizeof(V));
  return reinterpret_cast<V*>(pointer);
}

}  // namespace medseg
