// Test only, part of cuda_emulation.h: a block as fibers on one core, in an order of the test's choice.
#pragma once
#include <ucontext.h>

#include <map>

namespace medseg_emulation {

constexpr size_t kStack = 64 << 10;

enum class Wait { none, block, warp };

struct Fiber : Thread {
  ucontext_t context;
  std::unique_ptr<char[]> stack = std::make_unique_for_overwrite<char[]>(kStack);
  Wait waits = Wait::none;
  int line = 0;  // of the barrier it waits at
  bool done = false;
};

inline ucontext_t scheduler;
inline std::function<void()>* body = nullptr;

inline void leave_to_scheduler(Wait kind, int line) {
  Fiber* self = static_cast<Fiber*>(current);
  self->waits = kind;
  self->line = line;
  swapcontext(&self->context, &scheduler);
}

inline void block_barrier(int line) { leave_to_scheduler(Wait::block, line); }

inline void warp_barrier(int line) { leave_to_scheduler(Wait::warp, line); }

inline void fiber_main() {
  (*body)();
  static_cast<Fiber*>(current)->done = true;
  leave_to_scheduler(Wait::none, 0);
}

// Lets fibers [first, last) go on if all that have not left the kernel stand at one barrier of this kind.
inline bool release(std::vector<Fiber>& fibers, size_t first, size_t last, Wait kind) {
  int line = 0;
  for (size_t i = first; i < last; ++i) {
    if (fibers[i].done) continue;
    if (fibers[i].waits != kind) return false;
    if (line != 0 && fibers[i].line != line) fail("threads of one block wait at different barriers");
    line = fibers[i].line;
  }
  for (size_t i = first; i < last; ++i) fibers[i].waits = Wait::none;
  return line != 0;
}

// True as long as a thread can go on. Warps are released first; a block that neither moves nor ends is divergent.
inline bool release_barriers(std::vector<Fiber>& fibers) {
  bool moved = false;
  for (size_t first = 0; first < fibers.size(); first += kWarp)
    moved |= release(fibers, first, std::min(fibers.size(), first + kWarp), Wait::warp);
  if (moved || release(fibers, 0, fibers.size(), Wait::block)) return true;
  if (!std::all_of(fibers.begin(), fibers.end(), [](const Fiber& f) { return f.done; }))
    fail("some threads of a block never reach the barrier that the others wait at");
  return false;
}

inline void start(Fiber& f, unsigned number) {
  f.thread = unravel(number, block_size);
  f.number = number;
  f.done = false;
  f.waits = Wait::none;
  getcontext(&f.context);
  f.context.uc_stack.ss_sp = f.stack.get();
  f.context.uc_stack.ss_size = kStack;
  f.context.uc_link = nullptr;
  makecontext(&f.context, fiber_main, 0);
}

inline void run_block(std::vector<Fiber>& fibers) {
  for (unsigned i = 0; i < fibers.size(); ++i) start(fibers[i], i);
  std::vector<unsigned> turn(fibers.size());
  std::iota(turn.begin(), turn.end(), 0u);
  if (order == 1) std::reverse(turn.begin(), turn.end());
  do {
    if (order == 2) std::shuffle(turn.begin(), turn.end(), generator);
    for (unsigned i : turn) {
      if (fibers[i].done || fibers[i].waits != Wait::none) continue;
      current = &fibers[i];
      swapcontext(&scheduler, &fibers[i].context);
    }
  } while (release_barriers(fibers));
}

template <class Kernel>
void run_grid(dim3 grid, dim3 block, const Kernel& kernel) {
  std::function<void()> call = kernel;
  body = &call;
  static std::map<unsigned, std::vector<Fiber>> pools;  // by size: a launch shall not have to touch new stacks
  std::vector<Fiber>& fibers = pools[block.x * block.y * block.z];
  if (fibers.empty()) fibers = std::vector<Fiber>(block.x * block.y * block.z);
  for_each_block(grid, [&] { run_block(fibers); });
}

}  // namespace medseg_emulation
