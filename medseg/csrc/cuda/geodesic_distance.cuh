// Kernels of geodesic_distance: the seeds, the sweep over planes, and the turning of volumes for sweeps along x.
#pragma once
#include "../common/geodesic_shape.h"
#include "exact_math.cuh"

namespace medseg {

// The planes of one direction of one axis, for all maps; every volume is contiguous in the order of the grid.
template <class T>
struct GeodesicWay {
  GeodesicGrid grid;
  int64_t voxels, maps, sets, channels;  // of a volume; maps: batch * sets
  int64_t first, planes, direction;      // planes first, first + direction, ...; each reads the one before it
  T step[9], weight;
};

template <class T>
__global__ void __launch_bounds__(256) geodesic_seeds_kernel(const bool* seeds, T limit, int64_t count, T* distance) {
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (int64_t)gridDim.x * blockDim.x)
    distance[i] = seeds[i] ? (T)0 : limit;
}

// Size of the intensity step between two voxels: the sum of its absolute values over the channels, or its Euclidean norm.
template <class T, bool kHarmonic>
__device__ __forceinline__ T intensity_step(const T* image, const GeodesicWay<T>& w, int64_t here, int64_t from) {
  T total = fabs(image[here] - image[from]);
  if (w.channels == 1) return total;
  if (kHarmonic) total = exact_product(total, total);
#pragma unroll 1
  for (int64_t c = 1; c < w.channels; ++c) {
    const T gap = image[c * w.voxels + here] - image[c * w.voxels + from];
    total = exact_sum(total, kHarmonic ? exact_product(gap, gap) : (T)fabs(gap));
  }
  return kHarmonic ? (T)sqrt(total) : total;
}

// The length of a path that goes on to the next voxel.
template <class T, bool kHarmonic>
__device__ __forceinline__ T way_on(const GeodesicWay<T>& w, T way, T gap, T step) {
  if (!kHarmonic) return exact_sum(exact_sum(way, step), exact_product(w.weight, gap));
  gap = exact_sum(gap, (T)1e-5);
  return exact_sum(way, exact_product(step, gap) / exact_sum(exact_product(1 - w.weight, gap), w.weight));
}

// Shortens the path to voxel i of plane `at` by way of its neighbours in the plane before. Returns whether the distance became
// smaller. A comparison with NaN is false: an edge whose cost is NaN is never used.
template <class T, bool kHarmonic>
__device__ __forceinline__ bool geodesic_lower(const T* image, T* distance, const GeodesicWay<T>& w, int64_t at, int64_t i) {
  const GeodesicGrid& g = w.grid;
  const int64_t row = i / g.n, x = i % g.n, here = at * g.plane + row * g.row + x;
  const T known = distance[here];
  T best = known;
#pragma unroll 1  // unrolled, the conditions of all neighbours take more registers than there are for predicates
  for (int r = 0; r < 3; ++r) {
    if (row + r < 1 || row + r > g.rows) continue;
    for (int s = 0; s < 3; ++s) {
      if (x + s < 1 || x + s > g.n) continue;
      const int64_t from = (at - w.direction) * g.plane + (row + r - 1) * g.row + x + s - 1;
      const T way = way_on<T, kHarmonic>(w, distance[from], intensity_step<T, kHarmonic>(image, w, here, from), w.step[3 * r + s]);
      best = way < best ? way : best;
    }
  }
  if (!(best < known)) return false;
  distance[here] = best;
  return true;
}

// Blocks along y work on different maps. A launch visits either several planes, with one block for a map and a barrier after each
// plane, or one plane with several blocks for a map. Maps whose `active` is 0 did not change in the sweep before and are skipped;
// `fell` is set to 1 for maps that change. Both may be null.
template <class T, bool kHarmonic>
__global__ void __launch_bounds__(256) geodesic_planes_kernel(const T* images, T* distances, GeodesicWay<T> w, const int* active,
                                                              int* fell) {
  const int64_t voxels = w.grid.rows * w.grid.n;
  for (int64_t map = blockIdx.y; map < w.maps; map += gridDim.y) {
    if (active != nullptr && active[map] == 0) continue;
    const T* image = images + map / w.sets * w.channels * w.voxels;
    T* distance = distances + map * w.voxels;
    bool any = false;
    for (int64_t p = 0; p < w.planes; ++p) {
      const int64_t at = w.first + p * w.direction;
      for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < voxels; i += (int64_t)gridDim.x * blockDim.x)
        any |= geodesic_lower<T, kHarmonic>(image, distance, w, at, i);
      if (w.planes > 1) __syncthreads();
    }
    if (fell == nullptr) continue;
    const unsigned votes = __ballot_sync(0xffffffffu, any);
    if (threadIdx.x % 32 == 0 && votes != 0) atomicOr(fell + map, 1);
  }
}

// out [matrices, columns, rows] of in [matrices, rows, columns], a square of 32 a block.
template <class T>
__global__ void __launch_bounds__(256) turn_kernel(const T* in, int64_t matrices, int64_t rows, int64_t columns, T* out) {
  __shared__ T tile[32][33];
  const int64_t across = (columns + 31) / 32, tiles = across * ((rows + 31) / 32);
  const int x = threadIdx.x % 32, y = threadIdx.x / 32;
  for (int64_t i = blockIdx.x; i < matrices * tiles; i += gridDim.x) {
    const int64_t matrix = i / tiles * rows * columns, top = i % tiles / across * 32, left = i % across * 32;
    for (int r = y; r < 32; r += 8)
      if (top + r < rows && left + x < columns) tile[r][x] = in[matrix + (top + r) * columns + left + x];
    __syncthreads();
    for (int r = y; r < 32; r += 8)
      if (left + r < columns && top + x < rows) out[matrix + (left + r) * rows + top + x] = tile[x][r];
    __syncthreads();
  }
}

}  // namespace medseg
