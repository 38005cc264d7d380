// Test only: geodesic_distance under emulation.
#include "emulated.h"
#include "run_geodesic_distance.cuh"

namespace {

using namespace medseg;

// numbers: batch, sets, channels, size 3, harmonic, sweeps; values: spacing 3, weight, limit.
template <class T>
void distances(const int64_t* n, const double* v, const T* image, const bool* seeds, T* out) {
  medseg_emulation::Memory memory;
  const GeodesicChoice choice{{n[3], n[4], n[5]}, {v[0], v[1], v[2]}, n[2], v[3], n[6] != 0, n[7], v[4]};
  run_geodesic_distance<T>(memory, 0, choice, n[0], n[1], image, seeds, out);
}

}  // namespace

#define DEFINE_FOR(T, SUFFIX)                                                                                    \
  API void emu_geodesic_distance_##SUFFIX(const int64_t* numbers, const double* values, const T* image,          \
                                          const bool* seeds, T* out) {                                           \
    distances<T>(numbers, values, image, seeds, out);                                                            \
  }

DEFINE_FOR(float, f32)
DEFINE_FOR(double, f64)

MS_SANITIZER_CASE(geodesic_distance) {
  double sum = 0;
  for (const int64_t harmonic : {0, 1}) {
    const int64_t numbers[8] = {1, 2, 1 + harmonic, 2, 3, 4, harmonic, harmonic};
    const double values[5] = {2, 1, 1, 0.5, 9};
    const std::vector<float> image = medseg_emulation::waves(24 * numbers[2]);
    bool seeds[48] = {};
    seeds[7] = seeds[30] = true;
    std::vector<float> out(48);
    emu_geodesic_distance_f32(numbers, values, image.data(), seeds, out.data());
    sum += medseg_emulation::sum_of(out);
  }
  return sum;
}
