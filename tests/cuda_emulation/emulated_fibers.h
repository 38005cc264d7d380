// Test only, part of cuda_emulation.h: a block as fibers on one core, in the order that a test chooses. ThreadSanitizer treats
// each fiber as a thread.
#pragma once
#include <ucontext.h>

#include <map>

#include "emulated_order.h"

namespace medseg_emulation {

constexpr size_t kStack = 64 << 10;

enum class Wait { none, block, warp };

struct Fiber : Thread {
  ucontext_t context;
  std::unique_ptr<char[]> stack = std::make_unique_for_overwrite<char[]>(kStack);
  Sequence sequence = nullptr;
  Wait waits = Wait::none;
  int line = 0;  // of the barrier it waits at
  unsigned block_barriers = 0, warp_barriers = 0;  // that it has come to
  bool begun = false, done = false;
};

inline ucontext_t scheduler;
inline Sequence scheduler_sequence;
inline std::function<void()>* body = nullptr;

// Objects that define an order for ThreadSanitizer: launch and end of a block, barriers of the block and of each warp. There
// are two of each barrier, used in turn, because a thread may reach the next barrier while others still leave this one.
inline int64_t launched, ended, block_places[2], warp_places[32][2];

inline void leave_to_scheduler(Wait kind, int line) {
  Fiber* self = static_cast<Fiber*>(current);
  self->waits = kind;
  self->line = line;
  switch_to(scheduler_sequence);
  swapcontext(&self->context, &scheduler);
}

inline void block_barrier(int line) {
  void* place = &block_places[static_cast<Fiber*>(current)->block_barriers++ % 2];
  comes_before(place);
  leave_to_scheduler(Wait::block, line);
  comes_after(place);
}

inline void warp_barrier(int line) {
  Fiber* self = static_cast<Fiber*>(current);
  void* place = &warp_places[self->number / kWarp][self->warp_barriers++ % 2];
  comes_before(place);
  leave_to_scheduler(Wait::warp, line);
  comes_after(place);
}

// Runs one thread of one block after the other.
inline void fiber_main() {
  for (;;) {
    comes_after(&launched);
    (*body)();
    static_cast<Fiber*>(current)->done = true;
    comes_before(&ended);
    leave_to_scheduler(Wait::none, 0);
  }
}

// Lets fibers [first, last) continue if all that have not left the kernel wait at one barrier of this kind.
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

// True as long as a thread can continue. Warps are released first; a block that can neither continue nor end is divergent.
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
  f.block_barriers = f.warp_barriers = 0;
  if (f.begun) return;
  f.begun = true;
  f.sequence = new_sequence();
  getcontext(&f.context);
  f.context.uc_stack.ss_sp = f.stack.get();
  f.context.uc_stack.ss_size = kStack;
  f.context.uc_link = nullptr;
  makecontext(&f.context, fiber_main, 0);
}

inline void run_block(std::vector<Fiber>& fibers) {
  comes_before(&launched);
  const Unobserved unobserved;
  for (unsigned i = 0; i < fibers.size(); ++i) start(fibers[i], i);
  std::vector<unsigned> turn(fibers.size());
  std::iota(turn.begin(), turn.end(), 0u);
  if (order == 1) std::reverse(turn.begin(), turn.end());
  do {
    if (order == 2) std::shuffle(turn.begin(), turn.end(), generator);
    for (unsigned i : turn) {
      if (fibers[i].done || fibers[i].waits != Wait::none) continue;
      current = &fibers[i];
      switch_to(fibers[i].sequence);
      swapcontext(&scheduler, &fibers[i].context);
    }
  } while (release_barriers(fibers));
  comes_after(&ended);
}

// The same fibers for all launches of a size, so that launches do not touch new stacks. A fiber never ends, so none is freed.
inline std::vector<Fiber>& fibers_of_block(unsigned size) {
  static auto& pools = *new std::map<unsigned, std::vector<Fiber>>;
  std::vector<Fiber>& fibers = pools[size];
  if (fibers.empty()) fibers = std::vector<Fiber>(size);
  return fibers;
}

template <class Kernel>
void run_grid(dim3 grid, dim3 block, const Kernel& kernel) {
  std::function<void()> call = kernel;
  body = &call;
  {
    const Unobserved unobserved;  // fibers that end read it, and no order separates that from the next launch
    scheduler_sequence = own_sequence();
  }
  std::vector<Fiber>& fibers = fibers_of_block(block.x * block.y * block.z);
  for_each_block(grid, [&] { run_block(fibers); });
}

}  // namespace medseg_emulation
