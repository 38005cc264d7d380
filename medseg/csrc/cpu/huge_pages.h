// Fewer page faults for freshly allocated memory that will be written as a whole.
#pragma once
#include <cstddef>
#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace medseg::cpu {

// Asks the system for large pages if the memory is large. A page fault for every 4 KiB of a fresh map would take longer than the
// computation of a sparse round. The request only changes the time, so it does not matter if the system refuses.
inline void prefer_huge_pages([[maybe_unused]] void* data, [[maybe_unused]] size_t bytes) {
#if defined(__linux__)
  constexpr uintptr_t kHuge = 2 << 20, kPage = 4096;
  if (bytes < 2 * kHuge) return;
  const uintptr_t first = (reinterpret_cast<uintptr_t>(data) + kPage - 1) / kPage * kPage;
  const uintptr_t last = (reinterpret_cast<uintptr_t>(data) + bytes) / kPage * kPage;
  madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
}

}  // namespace medseg::cpu
