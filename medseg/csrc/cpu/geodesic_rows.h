// The loop over one image row of geodesic_distance, one table for each instruction set (see isa.h).
#pragma once
#include <cstdint>

namespace medseg {

// A row of n voxels and the three rows of the plane swept before it. Every row has a readable voxel at -1 and at n, where
// the distance is infinite.
template <class T>
struct GeodesicRow {
  const T* distance[3];  // rows -1, 0, 1 of the plane before; null where the image has none
  const T* image[3];     // the same rows of the first channel
  const T* here;         // the row itself in the first channel
  T* out;                // its distances, lowered in place
  const T* step;         // [3][3] lengths over (row, voxel) offsets; with the additive cost times 1 - weight
  int64_t n, channels, channel;  // voxels, channels, and the distance between channels
  T weight;                      // of the intensities
  bool harmonic;
};

template <class T>
struct GeodesicTable {
  bool (*relax)(const GeodesicRow<T>& row);  // returns whether any distance became smaller
  const char* name;
};

extern const GeodesicTable<float> geodesic_generic;
extern const GeodesicTable<double> geodesic_generic64;
#if defined(__x86_64__)
extern const GeodesicTable<float> geodesic_avx2;
extern const GeodesicTable<float> geodesic_avx512;
#endif

}  // namespace medseg
