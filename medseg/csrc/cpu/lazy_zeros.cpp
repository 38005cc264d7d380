// Zeroing by page where the system can.
#include "lazy_zeros.h"

#include <cstdint>
#include <cstring>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace medseg::cpu {

bool lazy_zeros(void* data, size_t bytes) {
#if defined(__linux__)
  // Below this the pages are likely to be written soon anyway, and a fault costs more than clearing a page.
  constexpr size_t kLeast = 1 << 20;
  static const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  if (bytes >= kLeast) {
    char* const begin = static_cast<char*>(data);
    char* const end = begin + bytes;
    char* const first = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(begin) + page - 1) / page * page);
    char* const last = reinterpret_cast<char*>(reinterpret_cast<uintptr_t>(end) / page * page);
    // On Linux, private anonymous memory (what allocators hand out) reads as zero after MADV_DONTNEED.
    if (madvise(first, last - first, MADV_DONTNEED) == 0) {
      std::memset(begin, 0, first - begin);
      std::memset(last, 0, end - last);
      return true;
    }
  }
#endif
  std::memset(data, 0, bytes);
  return false;
}

}  // namespace medseg::cpu
