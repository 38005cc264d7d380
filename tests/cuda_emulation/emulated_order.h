// Test only, part of cuda_emulation.h: tells ThreadSanitizer that every fiber is a separate thread, and the order of events: the
// launch of a block comes before its threads, the arrivals at a barrier before the departures, the threads before the end of the
// block. ThreadSanitizer then reports accesses that only the order of the fibers kept apart. Without it all of this is empty.
#pragma once
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>

extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}

namespace medseg_emulation {

using Sequence = void*;  // of the accesses of one fiber

inline Sequence new_sequence() { return __tsan_create_fiber(0); }
inline Sequence own_sequence() { return __tsan_get_current_fiber(); }
inline void switch_to(Sequence sequence) { __tsan_switch_to_fiber(sequence, __tsan_switch_to_fiber_no_sync); }
inline void comes_before(void* place) { __tsan_release(place); }
inline void comes_after(void* place) { __tsan_acquire(place); }

// Hides accesses of the scheduler, which are not part of the kernel.
struct Unobserved {
  Unobserved() {
    AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
    AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
  }
  ~Unobserved() {
    AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
    AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
  }
  Unobserved(const Unobserved&) = delete;
  Unobserved& operator=(const Unobserved&) = delete;
};

}  // namespace medseg_emulation
#else
namespace medseg_emulation {

using Sequence = void*;

inline Sequence new_sequence() { return nullptr; }
inline Sequence own_sequence() { return nullptr; }
inline void switch_to(Sequence) {}
inline void comes_before(void*) {}
inline void comes_after(void*) {}

struct Unobserved {
  Unobserved() {}
};

}  // namespace medseg_emulation
#endif
