// The row loops of bspline_warp, one table for each instruction set (see isa.h). Products and sums are not contracted, so that
// every instruction set gives the same bits.
#pragma once
#include <cstdint>

namespace medseg {

// Where the voxels of one output row read: raster offsets of the lower corners inside one channel, and how far towards the
// upper ones. `mask` is null if the border is repeated.
template <class T>
struct WarpRow {
  int32_t* offset;
  T* fraction[3];
  T* mask;
};

template <class T>
struct WarpTable {
  // u[v] = sum over j < 4 of line[cell[r] + j] * w[j * size + v] for the voxels v of run r, starts[r] <= v < starts[r + 1].
  void (*spread)(const T* line, const int32_t* starts, const int32_t* cell, int64_t runs, const T* w, int64_t size, T* u);
  // Fills `row` from the displacements u[axis] of a row of n voxels that starts at (z, y, 0).
  void (*place)(const T* const* u, T z, T y, const int64_t* size, const int64_t* stride, int64_t n, const WarpRow<T>* row);
  // offset[v] of the nearest voxel, -1 for the fill value.
  void (*place_nearest)(const T* const* u, T z, T y, const int64_t* size, const int64_t* stride, bool border, int64_t n,
                        int32_t* offset);
  // out[v] = the trilinear value, mixed with `fill` by the mask. step: to the neighbour along every axis.
  void (*sample)(const T* x, const WarpRow<T>* row, const int64_t* step, T fill, int64_t n, T* out);
  const char* name;
};

extern const WarpTable<float> warp_generic;
extern const WarpTable<double> warp_generic64;
#if defined(__x86_64__)
extern const WarpTable<float> warp_avx2;
extern const WarpTable<float> warp_avx512;
#endif

}  // namespace medseg
