// Test only: lets g++ compile the unchanged CUDA kernels and run them without a GPU.
//
// A block runs as fibers on one core, in forward, reversed or random order between barriers. A result that depends on the order
// then differs between the orders. ThreadSanitizer treats each fiber as a thread and reports missing barriers. With
// -DEMU_THREADS every CUDA thread is a real thread, so that AddressSanitizer, which guards the stacks of threads, finds
// accesses out of bounds. Only what the kernels use is emulated: indices, static and dynamic shared memory, barriers of blocks
// and warps. Exchange within a warp, 16-bit types and matrix fragments have their own headers.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <numeric>
#include <random>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __forceinline__ inline
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)
#define __syncthreads() medseg_emulation::block_barrier(__LINE__)
#define __syncwarp() medseg_emulation::warp_barrier(__LINE__)
#define threadIdx (medseg_emulation::current->thread)
#define blockIdx (medseg_emulation::block_index)
#define blockDim (medseg_emulation::block_size)
#define gridDim (medseg_emulation::grid_size)

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

namespace medseg_emulation {

constexpr unsigned kWarp = 32;

struct Thread {
  dim3 thread;
  unsigned number = 0;  // in the block
};

inline thread_local Thread* current = nullptr;
inline dim3 block_index, block_size, grid_size;
inline int order = 0;  // 0 forward, 1 reversed, 2 random
inline std::mt19937 generator{1};

[[noreturn]] inline void fail(const char* text) {
  std::fprintf(stderr, "cuda emulation: %s\n", text);
  std::abort();
}

// Stops the program if a vector load or a matrix fragment is not aligned.
inline void check_alignment(const void* pointer, size_t bytes) {
  if (reinterpret_cast<uintptr_t>(pointer) % bytes != 0) fail("an address is not aligned as its access demands");
}

// Dynamic shared memory: an allocation of exactly the requested size, so that a sanitizer guards its end. For every block it
// starts with 0xff bytes (NaN as a float), so that a read before the first write changes the result.
struct SharedMemory {
  static constexpr std::align_val_t kAlignment{128};
  char* bytes;
  size_t size;

  explicit SharedMemory(size_t size_) : bytes(static_cast<char*>(::operator new(size_, kAlignment))), size(size_) {}
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory() { ::operator delete(bytes, kAlignment); }
  void forget() { std::memset(bytes, 0xff, size); }
};

inline SharedMemory* dynamic_shared = nullptr;

inline dim3 unravel(unsigned i, dim3 size) { return dim3(i % size.x, i / size.x % size.y, i / (size.x * size.y)); }

template <class Visit>
void for_each_block(dim3 grid, const Visit& visit) {
  const unsigned count = grid.x * grid.y * grid.z;
  std::vector<unsigned> blocks(count);
  std::iota(blocks.begin(), blocks.end(), 0u);
  if (order == 1) std::reverse(blocks.begin(), blocks.end());
  if (order == 2) std::shuffle(blocks.begin(), blocks.end(), generator);
  for (unsigned i : blocks) {
    block_index = unravel(i, grid);
    dynamic_shared->forget();
    visit();
  }
}

}  // namespace medseg_emulation

#ifdef EMU_THREADS
#include "emulated_threads.h"
#else
#include "emulated_fibers.h"
#endif

namespace medseg_emulation {

template <class Kernel>
void launch(dim3 grid, dim3 block, size_t shared_bytes, Kernel kernel) {
  if (block.x * block.y * block.z > 1024) fail("a block of more than 1024 threads");
  if (grid.y > 65535 || grid.z > 65535) fail("a grid of more than 65535 blocks along y or z");
  if (grid.x * grid.y * grid.z == 0) fail("a launch of no block");
  SharedMemory memory(shared_bytes);
  dynamic_shared = &memory;
  block_size = block;
  grid_size = grid;
  run_grid(grid, block, kernel);
}

}  // namespace medseg_emulation

#include "emulated_atomics.h"
#include "emulated_types.h"
#include "emulated_warp.h"
