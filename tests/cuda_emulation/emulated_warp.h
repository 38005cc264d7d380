// Test only, part of cuda_emulation.h: exchange between the lanes of a warp. Reading a lane that has left the kernel, or that
// is not in the mask, stops the program.
#pragma once

namespace medseg_emulation {

struct Slot {
  alignas(8) char bytes[8];
  bool filled = false;
};

inline Slot exchange[1024];  // one for every thread of a block

// Reads the values of the lanes of this thread's warp; the lanes wait for each other before and after.
template <class T, class Read>
auto exchanged(unsigned mask, T value, int line, const Read& read) {
  static_assert(sizeof(T) <= 8);
  const unsigned lane = current->number % kWarp, first = current->number - lane;
  if ((mask >> lane & 1) == 0) fail("a lane takes part in an exchange that its mask leaves out");
  Slot& own = exchange[current->number];
  std::memcpy(own.bytes, &value, sizeof(T));
  own.filled = true;
  warp_barrier(line);
  const auto result = read([&](unsigned other) {
    const Slot& slot = exchange[first + other];
    if ((mask >> other & 1) == 0 || !slot.filled) fail("an exchange reads a lane that does not take part");
    T given;
    std::memcpy(&given, slot.bytes, sizeof(T));
    return given;
  });
  warp_barrier(-line);
  own.filled = false;
  return result;
}

template <class T>
T shuffle(unsigned mask, T value, unsigned source, int line) {
  return exchanged(mask, value, line, [&](const auto& of) { return source < kWarp ? of(source) : value; });
}

inline unsigned ballot(unsigned mask, bool vote, int line) {
  return exchanged(mask, (int)vote, line, [&](const auto& of) {
    unsigned votes = 0;
    for (unsigned lane = 0; lane < kWarp; ++lane)
      if (mask >> lane & 1) votes |= (unsigned)of(lane) << lane;
    return votes;
  });
}

inline unsigned lane() { return current->number % kWarp; }

}  // namespace medseg_emulation

#define __shfl_sync(mask, value, source) medseg_emulation::shuffle(mask, value, (unsigned)(source) % 32, __LINE__)
#define __shfl_xor_sync(mask, value, bits) medseg_emulation::shuffle(mask, value, medseg_emulation::lane() ^ (bits), __LINE__)
#define __shfl_down_sync(mask, value, by) medseg_emulation::shuffle(mask, value, medseg_emulation::lane() + (by), __LINE__)
#define __shfl_up_sync(mask, value, by) medseg_emulation::shuffle(mask, value, medseg_emulation::lane() - (by), __LINE__)
#define __ballot_sync(mask, vote) medseg_emulation::ballot(mask, (vote) != 0, __LINE__)

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
