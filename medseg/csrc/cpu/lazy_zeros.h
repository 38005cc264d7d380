// Zeros for large outputs of which few pages are written, without writing the whole map.
#pragma once
#include <cstddef>
#include <cstdint>

namespace medseg::cpu {

// Makes freshly allocated private memory read as zero; `touched` is the share of its pages that will be written.
//
// Fresh pages of the system read as zero already, and clearing them would cost a page fault each. They are returned to the
// system, which supplies zeros when a page is first touched, in huge pages if most of them will be touched. Memory that the
// allocator has used before is cleared directly: returning its pages and faulting them in again is slower than writing them.
// Returns whether the pages have not been touched yet.
bool lazy_zeros(void* data, size_t bytes, double touched);

constexpr uintptr_t kPage = 4096;

// A page that is first read and then written faults twice. This writes without changing the value.
inline void touch_page(void* at) { __atomic_fetch_or(static_cast<unsigned char*>(at), 0, __ATOMIC_RELAXED); }

inline bool same_page(const void* a, const void* b) {
  return reinterpret_cast<uintptr_t>(a) / kPage == reinterpret_cast<uintptr_t>(b) / kPage;
}

}  // namespace medseg::cpu
