// MEDSEG_ISA and the features of the processor decide which float32 kernels run.
#include "isa.h"

#include <cstdlib>
#include <stdexcept>
#include <string>

#include "../common/export.h"

namespace medseg {
namespace {

struct Candidate {
  const char* name;
  bool supported;
};

Candidate choose() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const Candidate candidates[] = {{"avx512", __builtin_cpu_supports("avx512f") != 0},
                                  {"avx2", __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")},
                                  {"generic", true}};
#else
  const Candidate candidates[] = {{"avx512", false}, {"avx2", false}, {"generic", true}};
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

}  // namespace

const char* float_isa() {
  static const Candidate chosen = choose();  // an exception leaves it unset: the next call tries again
  return chosen.name;
}

}  // namespace medseg

// Name of the instruction set of the float32 kernels, or the text of the error if MEDSEG_ISA cannot be met (then *failed = 1).
MS_EXPORT const char* medseg_isa(int* failed) {
  static std::string text;
  *failed = 0;
  try {
    text = medseg::float_isa();
  } catch (const std::exception& e) {
    *failed = 1;
    text = e.what();
  }
  return text.c_str();
}
