// Test only: what the files emulated_*.cpp share. Each file gives the kernel sequences of one op C functions. The files are built
// as one library for Python, or with -DEMULATION_MAIN as one program for the sanitizers.
#pragma once
#include <map>
#include <string>

#include "cuda_emulation.h"

#define API extern "C" __attribute__((visibility("default")))

namespace medseg_emulation {

// Fresh memory holds 0xff bytes (NaN as a float, -1 as an index), so that a read before the first write changes the result.
struct Memory {
  std::vector<std::unique_ptr<char[]>> held;

  template <class T>
  T* get(int64_t count) {
    held.push_back(std::make_unique<char[]>(count * sizeof(T)));
    fill(held.back().get(), 0xff, count * (int64_t)sizeof(T));
    return reinterpret_cast<T*>(held.back().get());
  }
  Memory fresh() const { return {}; }
  void fill(void* p, int byte, int64_t bytes) { std::memset(p, byte, bytes); }
  void read(void* host, const void* p, int64_t bytes) { std::memcpy(host, p, bytes); }
};

// Cases that the sanitizer program runs: small shapes with ragged edges. A case returns a sum of its results, or of
// anything else that must be finite.
using SanitizerCase = double (*)();

inline std::map<std::string, SanitizerCase>& sanitizer_cases() {
  static std::map<std::string, SanitizerCase> cases;
  return cases;
}

// Values without a pattern, the same in every run.
template <class T = float>
std::vector<T> waves(size_t count, float step = 0.37f) {
  std::vector<T> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = (T)std::sin(step * (float)i);
  return values;
}

template <class T>
double sum_of(const std::vector<T>& values) {
  double sum = 0;
  for (const T& v : values) sum += (double)v;
  return sum;
}

}  // namespace medseg_emulation

// Names a case; `name` is an identifier, the braces of the function follow.
#define MS_SANITIZER_CASE(name)                                                                    \
  static double sanitize_##name();                                                                 \
  static const bool listed_##name = (medseg_emulation::sanitizer_cases()[#name] = sanitize_##name, true); \
  static double sanitize_##name()
