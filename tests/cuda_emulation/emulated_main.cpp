// Test only: the order of threads, the planted bug, and the program that the sanitizers run.
#include "emulated.h"
#include "launch.cuh"
#include "planted_bug.cuh"

API void emu_order(int order) { medseg_emulation::order = order; }

API void emu_planted_bug(const float* x, float* out, int64_t blocks) {
  MS_LAUNCH((planted_bug_kernel), dim3((unsigned)blocks), dim3(256), 0, x, out);
}

#ifdef EMULATION_MAIN
// Runs all sanitizer cases, or the one that is named; "bug" runs the planted one.
int main(int argc, char** argv) {
  if (argc > 1 && std::string(argv[1]) == "bug") {
    std::vector<float> x(256, 1.f), out(1);
    emu_planted_bug(x.data(), out.data(), 1);
    return 0;
  }
  bool finite = true;
  for (const auto& [name, run] : medseg_emulation::sanitizer_cases()) {
    if (argc > 1 && name != argv[1]) continue;
    const double sum = run();
    finite &= std::isfinite(sum);
    std::printf("%s: %.6f\n", name.c_str(), sum);
  }
  return finite ? 0 : 1;
}
#endif
