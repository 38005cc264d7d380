// Test only, part of cuda_emulation.h: a block as real threads, for AddressSanitizer, which guards their stacks.
#pragma once
#include <barrier>
#include <thread>

namespace medseg_emulation {

inline std::unique_ptr<std::barrier<>> threads_of_block;
inline std::vector<std::unique_ptr<std::barrier<>>> threads_of_warp;

inline void block_barrier(int) { threads_of_block->arrive_and_wait(); }

inline void warp_barrier(int) { threads_of_warp[current->number / kWarp]->arrive_and_wait(); }

inline void new_barriers(unsigned n) {
  threads_of_block = std::make_unique<std::barrier<>>(n);
  threads_of_warp.clear();
  for (unsigned first = 0; first < n; first += kWarp)
    threads_of_warp.push_back(std::make_unique<std::barrier<>>(std::min(kWarp, n - first)));
}

template <class Kernel>
void run_grid(dim3 grid, dim3 block, const Kernel& kernel) {
  const unsigned n = block.x * block.y * block.z;
  for_each_block(grid, [&] {
    new_barriers(n);
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < n; ++i)
      threads.emplace_back([&, i] {
        Thread self{unravel(i, block_size), i};
        current = &self;
        kernel();
        threads_of_warp[i / kWarp]->arrive_and_drop();
        threads_of_block->arrive_and_drop();
      });
    for (std::thread& t : threads) t.join();
  });
}

}  // namespace medseg_emulation
