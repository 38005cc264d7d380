// Memory that reads as zero, without writing it if the system supplies zero pages.
#include "lazy_zeros.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cstring>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace medseg::cpu {
namespace {

// One core does not use the whole memory bandwidth, so the threads clear pieces in parallel.
void clear(char* data, size_t bytes) {
  constexpr int64_t kPiece = 1 << 20;
  const int64_t size = (int64_t)bytes;
  torch::stable::parallel_for(0, (size + kPiece - 1) / kPiece, 1, [&](int64_t begin, int64_t end) {
    std::memset(data + begin * kPiece, 0, std::min(size, end * kPiece) - begin * kPiece);
  });
}

#if defined(__linux__)

// Whether most of a sample of the pages is in memory. Fresh pages are not.
bool mostly_resident(char* first, size_t bytes, size_t page) {
  constexpr size_t kSamples = 8;
  int resident = 0;
  for (size_t i = 0; i < kSamples; ++i) {
    unsigned char state = 1;
    mincore(first + bytes / page * i / kSamples * page, page, &state);
    resident += state & 1;
  }
  return resident * 2 > (int)kSamples;
}
#endif

}  // namespace

bool lazy_zeros(void* data, size_t bytes, [[maybe_unused]] double touched) {
#if defined(__linux__)
  constexpr size_t kLeast = 1 << 20;         // for less memory, clearing it is faster than asking about it
  constexpr double kHugePagesFrom = 0.2;     // a huge page costs about a quarter of the small ones in it
  static const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  if (bytes >= kLeast) {
    char* const begin = static_cast<char*>(data);
    char* const end = begin + bytes;
    char* const first = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(begin) + page - 1) / page * page);
    char* const last = reinterpret_cast<char*>(reinterpret_cast<uintptr_t>(end) / page * page);
    // On Linux, private anonymous memory (what allocators hand out) reads as zero after MADV_DONTNEED.
    if (!mostly_resident(first, last - first, page) && madvise(first, last - first, MADV_DONTNEED) == 0) {
      if (touched >= kHugePagesFrom) madvise(first, last - first, MADV_HUGEPAGE);
      std::memset(begin, 0, first - begin);
      std::memset(last, 0, end - last);
      return true;
    }
  }
#endif
  clear(static_cast<char*>(data), bytes);
  return false;
}

}  // namespace medseg::cpu
