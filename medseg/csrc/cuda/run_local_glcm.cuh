// Sequences of kernels behind local_glcm and its gradient: several maps at once, one offset after the other.
#pragma once
#include "../common/glcm_maps.h"
#include "glcm_counts.cuh"

namespace medseg {

inline LinearPlaces linear_places(const GlcmProblem& g, size_t offset) {
  LinearPlaces p{{}, g.first(offset), g.stride()};
  for (int f = 0; f < kLinearFeatures; ++f) p.at[f] = g.maps.place[kLinear[f]];
  return p;
}

inline CountedPlaces counted_places(const GlcmProblem& g, size_t offset) {
  const int64_t* at = g.maps.place;
  return {at[kFSecondMoment], at[kFEnergy], at[kFEntropy], at[kFLargest], g.first(offset), g.stride()};
}

// Counters of up to 48 KiB (221 levels) lie in shared memory: that much is available without a request to the driver. Larger
// counters lie in scratch memory, which limits the number of warps.
constexpr int64_t kSharedCounters = 48 << 10;
constexpr int64_t kCountedWarps = 4096;

struct GlcmCounters {
  int64_t words, warps;
  uint32_t* scratch;
  int64_t* changes;
  int32_t* codes;
};

template <class Workspace, class Stream>
GlcmCounters glcm_counters(Workspace& memory, Stream stream, const GlcmProblem& c, int64_t maps) {
  const TextureShape& s = c.shape;
  const int64_t words = counter_words(c.levels), bytes = 4 * words, pairs = s.window();
  const int64_t runs = maps * s.size[0] * s.size[1] * ((s.size[2] + kCountedRun - 1) / kCountedRun);
  const bool shared = bytes <= kSharedCounters;
  const int64_t warps = std::min(runs, shared ? kCountedWarps : std::min(kCountedWarps, kTextureScratch / bytes));
  GlcmCounters k{words, warps, shared ? nullptr : memory.template get<uint32_t>(warps * words),
                 memory.template get<int64_t>(2 * pairs), memory.template get<int32_t>(maps * s.plane())};
  MS_LAUNCH((glcm_entropy_kernel), dim3(blocks_for(2 * pairs)), dim3(kThreads), stream, pairs, k.changes);
  return k;
}

template <class T, class Stream>
void run_counted_features(Stream stream, const GlcmProblem& c, const GlcmCounters& k, const GreyMaps<T>& grey, size_t offset,
                          int64_t maps, T* out, int32_t* seen) {
  const PairBox p = pair_box(c.shape, c.offsets[offset], maps);
  const CountedPlaces places = counted_places(c, offset);
  const int64_t pairs = c.shape.window();
  const size_t bytes = k.scratch == nullptr ? 4 * k.words : 0;
  MS_LAUNCH((glcm_codes_kernel<T>), dim3(blocks_for(maps * c.shape.plane())), dim3(kThreads), stream, grey, p, k.codes);
  MS_LAUNCH_SHARED((glcm_counts_kernel<T>), dim3((unsigned)k.warps), dim3(32), bytes, stream, k.codes, p.window, k.changes, pairs,
                   k.words, k.scratch, places, out, seen);
}

// x, mask (or null) [maps, *size] and out [maps, groups * features, *size] contiguous.
template <class T, class Workspace, class Stream>
void run_local_glcm(Workspace& memory, Stream stream, const GlcmProblem& c, const T* x, const bool* mask, T* out) {
  const TextureShape& s = c.shape;
  const int64_t plane = s.plane(), n = maps_at_once(s.maps, plane * (kPairSums + 1) * (int64_t)sizeof(double));
  if (s.maps * plane == 0) return;
  memory.fill(out, 0, s.maps * c.stride() * plane * (int64_t)sizeof(T));
  double* columns = c.maps.linear ? memory.template get<double>(n * kPairSums * plane) : nullptr;
  int32_t* seen = memory.template get<int32_t>(n * plane);
  const GlcmCounters k = c.maps.counted ? glcm_counters(memory, stream, c, n) : GlcmCounters{};
  for (int64_t map = 0; map < s.maps; map += n) {
    const int64_t some = std::min(n, s.maps - map);
    const GreyMaps<T> grey{x + map * plane, mask == nullptr ? nullptr : mask + map * plane, c.levels};
    T* to = out + map * c.stride() * plane;
    memory.fill(seen, 0, some * plane * (int64_t)sizeof(int32_t));
    for (size_t a = 0; a < c.offsets.size(); ++a) {
      if (c.maps.linear) {
        const PairBox p = pair_box(s, c.offsets[a], some);
        const LinearPlaces places = linear_places(c, a);
        MS_LAUNCH((glcm_columns_kernel<T>), dim3(blocks_for(p.window.columns())), dim3(kThreads), stream, grey, p, columns);
        MS_LAUNCH((glcm_features_kernel<T>), dim3(blocks_for(some * plane)), dim3(kThreads), stream, columns, p.window, places, to, seen);
      }
      if (c.maps.counted) run_counted_features(stream, c, k, grey, a, some, to, c.maps.linear ? nullptr : seen);
    }
    if (c.groups == 1 && c.offsets.size() > 1)
      MS_LAUNCH((glcm_average_kernel<T>), dim3(blocks_for(some * c.stride() * plane)), dim3(kThreads), stream, seen, some, c.stride(),
                plane, to);
  }
}

// Gradient of the linear features.
template <class T, class Workspace, class Stream>
void run_local_glcm_backward(Workspace& memory, Stream stream, const GlcmProblem& c, const T* grad, const T* x, const bool* mask, T* dx) {
  const TextureShape& s = c.shape;
  const int64_t plane = s.plane(), n = maps_at_once(s.maps, plane * 2 * kPairSums * (int64_t)sizeof(double));
  if (s.maps * plane == 0) return;
  double* columns = memory.template get<double>(n * kPairSums * plane);
  double* slopes = memory.template get<double>(n * (kPairSums - 1) * plane);
  double* sum = memory.template get<double>(n * plane);
  int32_t* seen = c.groups == 1 ? memory.template get<int32_t>(n * plane) : nullptr;
  for (int64_t map = 0; map < s.maps; map += n) {
    const int64_t some = std::min(n, s.maps - map), count = some * plane;
    const GreyMaps<T> grey{x + map * plane, mask == nullptr ? nullptr : mask + map * plane, c.levels};
    const T* from = grad + map * c.stride() * plane;
    memory.fill(sum, 0, count * (int64_t)sizeof(double));
    if (seen != nullptr) memory.fill(seen, 0, count * (int64_t)sizeof(int32_t));
    for (size_t a = 0; a < c.offsets.size() && seen != nullptr; ++a) {
      const PairBox p = pair_box(s, c.offsets[a], some);
      MS_LAUNCH((glcm_columns_kernel<T>), dim3(blocks_for(p.window.columns())), dim3(kThreads), stream, grey, p, columns);
      MS_LAUNCH((glcm_seen_kernel), dim3(blocks_for(count)), dim3(kThreads), stream, columns, p.window, seen);
    }
    for (size_t a = 0; a < c.offsets.size(); ++a) {
      const PairBox p = pair_box(s, c.offsets[a], some);
      const LinearPlaces places = linear_places(c, a);
      const dim3 strips(blocks_for(p.window.columns())), voxels(blocks_for(count));
      MS_LAUNCH((glcm_columns_kernel<T>), strips, dim3(kThreads), stream, grey, p, columns);
      MS_LAUNCH((glcm_slopes_kernel<T>), voxels, dim3(kThreads), stream, columns, from, p.window, places, seen, slopes);
      MS_LAUNCH((glcm_slope_columns_kernel), strips, dim3(kThreads), stream, slopes, p.back, columns);
      MS_LAUNCH((glcm_gradient_kernel<T>), voxels, dim3(kThreads), stream, grey, p, columns, sum);
    }
    MS_LAUNCH((glcm_round_kernel<T>), dim3(blocks_for(count)), dim3(kThreads), stream, sum, count, dx + map * plane);
  }
}

}  // namespace medseg
