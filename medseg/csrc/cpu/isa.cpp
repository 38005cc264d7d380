// MEDSEG_ISA and the processor's own answer decide which kernels run.
#include "isa.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

#include "../common/export.h"

namespace medseg {
namespace {

struct Candidate {
  const char* name;
  const KernelTable<float>* table;
  const ConvTable<float>* conv;
  bool supported;
};

Candidate choose() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const Candidate candidates[] = {
      {"avx512", &kernels_avx512, &conv_avx512, __builtin_cpu_supports("avx512f") != 0},
      {"avx2", &kernels_avx2, &conv_avx2, __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")},
      {"generic", &kernels_generic, &conv_generic, true}};
#else
  const Candidate candidates[] = {{"avx512", nullptr, nullptr, false},
                                  {"avx2", nullptr, nullptr, false},
                                  {"generic", &kernels_generic, &conv_generic, true}};
#endif
  const char* wanted = std::getenv("MEDSEG_ISA");
  if (wanted == nullptr || *wanted == '\0') {
    for (const Candidate& c : candidates)
      if (c.supported) return c;
  }
  for (const Candidate& c : candidates) {
    if (std::string(wanted) != c.name) continue;
    if (c.supported) return c;
    throw std::runtime_error(std::string("MEDSEG_ISA=") + wanted + ": this processor does not support it; unset it or use generic");
  }
  throw std::runtime_error(std::string("MEDSEG_ISA=") + wanted + ": unknown; use avx512, avx2 or generic");
}

const Candidate& chosen() {
  static const Candidate candidate = choose();  // a throw leaves it unset: the next call answers again
  return candidate;
}

}  // namespace

const KernelTable<float>& float_kernels() { return *chosen().table; }

const ConvTable<float>& float_conv_kernels() { return *chosen().conv; }

}  // namespace medseg

// Name of the float32 kernels, or the error text when MEDSEG_ISA cannot be met (then *failed = 1).
MS_EXPORT const char* medseg_isa(int* failed) {
  static std::string text;
  *failed = 0;
  try {
    text = medseg::float_kernels().name;
  } catch (const std::exception& e) {
    *failed = 1;
    text = e.what();
  }
  return text.c_str();
}
