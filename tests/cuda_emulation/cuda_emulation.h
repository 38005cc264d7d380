// Test only: lets g++ compile the unchanged CUDA kernels and run them without a GPU.
//
// A block runs as fibers on one core, in forward, reversed or random order between barriers, so that a result that depends
// on the order shows. With -DEMU_THREADS every CUDA thread is a real thread: ThreadSanitizer then sees missing barriers, and
// AddressSanitizer accesses out of bounds. Only what the kernels use is here: indices, static shared memory, barriers.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <random>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __launch_bounds__(...)
#define __syncthreads() medseg_emulation::barrier(__LINE__)
#define threadIdx (medseg_emulation::current->thread)
#define blockIdx (medseg_emulation::block_index)
#define blockDim (medseg_emulation::block_size)
#define gridDim (medseg_emulation::grid_size)

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

namespace medseg_emulation {

struct Thread {
  dim3 thread;
};

inline thread_local Thread* current = nullptr;
inline dim3 block_index, block_size, grid_size;
inline int order = 0;  // 0 forward, 1 reversed, 2 random
inline std::mt19937 generator{1};

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
    visit();
  }
}

}  // namespace medseg_emulation

#ifdef EMU_THREADS

#include <barrier>
#include <memory>
#include <thread>

namespace medseg_emulation {

inline std::unique_ptr<std::barrier<>> block_barrier;

inline void barrier(int) { block_barrier->arrive_and_wait(); }

template <class Kernel>
void launch(dim3 grid, dim3 block, Kernel kernel) {
  block_size = block;
  grid_size = grid;
  const unsigned n = block.x * block.y * block.z;
  for_each_block(grid, [&] {
    block_barrier = std::make_unique<std::barrier<>>(n);
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < n; ++i)
      threads.emplace_back([&, i] {
        Thread self{unravel(i, block_size)};
        current = &self;
        kernel();
        block_barrier->arrive_and_drop();
      });
    for (std::thread& t : threads) t.join();
  });
}

}  // namespace medseg_emulation

#else

#include <ucontext.h>

namespace medseg_emulation {

struct Fiber : Thread {
  ucontext_t context;
  std::vector<char> stack = std::vector<char>(64 << 10);
  int waits_at = 0;  // source line of the barrier, 0 while running
  bool done = false;
};

inline ucontext_t scheduler;
inline std::function<void()>* body = nullptr;

inline void barrier(int line) {
  Fiber* self = static_cast<Fiber*>(current);
  self->waits_at = line;
  swapcontext(&self->context, &scheduler);
}

inline void fiber_main() {
  (*body)();
  Fiber* self = static_cast<Fiber*>(current);
  self->done = true;
  swapcontext(&self->context, &scheduler);
}

[[noreturn]] inline void fail(const char* text) {
  std::fprintf(stderr, "cuda emulation: %s\n", text);
  std::abort();
}

// All threads that have not left the kernel must stand at one and the same barrier.
inline bool release_barrier(std::vector<Fiber>& fibers) {
  int line = 0;
  for (const Fiber& f : fibers) {
    if (f.done) continue;
    if (line != 0 && f.waits_at != line) fail("threads of one block wait at different barriers");
    line = f.waits_at;
  }
  for (Fiber& f : fibers) f.waits_at = 0;
  return line != 0;
}

inline void run_block(std::vector<Fiber>& fibers) {
  for (unsigned i = 0; i < fibers.size(); ++i) {
    Fiber& f = fibers[i];
    f.thread = unravel(i, block_size);
    f.done = false;
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack.data();
    f.context.uc_stack.ss_size = f.stack.size();
    f.context.uc_link = nullptr;
    makecontext(&f.context, fiber_main, 0);
  }
  std::vector<unsigned> turn(fibers.size());
  std::iota(turn.begin(), turn.end(), 0u);
  if (order == 1) std::reverse(turn.begin(), turn.end());
  do {
    if (order == 2) std::shuffle(turn.begin(), turn.end(), generator);
    for (unsigned i : turn) {
      if (fibers[i].done) continue;
      current = &fibers[i];
      swapcontext(&scheduler, &fibers[i].context);
    }
  } while (release_barrier(fibers));
}

template <class Kernel>
void launch(dim3 grid, dim3 block, Kernel kernel) {
  block_size = block;
  grid_size = grid;
  std::function<void()> call = kernel;
  body = &call;
  std::vector<Fiber> fibers(block.x * block.y * block.z);
  for_each_block(grid, [&] { run_block(fibers); });
}

}  // namespace medseg_emulation

#endif
