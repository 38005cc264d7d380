// Sequences of kernels behind local_histogram and its gradient.
#pragma once
#include "local_histogram.cuh"

namespace medseg {

// Maps and bins that are worked on at once.
struct HistogramPass {
  int64_t maps, bins;
};

inline HistogramPass histogram_pass(const TextureShape& s, int64_t bins, int64_t bytes) {
  return {maps_at_once(s.maps, s.plane() * bins * bytes), maps_at_once(bins, s.plane() * bytes)};
}

// Codes and shares of some maps, and one over what their windows count.
struct HistogramMaps {
  int16_t* code;
  int64_t* share;
  double* inverse;
  int32_t* columns;
};

template <class Workspace>
HistogramMaps histogram_maps(Workspace& memory, const Bins& bins, int64_t voxels) {
  return {memory.template get<int16_t>(voxels), bins.soft ? memory.template get<int64_t>(voxels) : nullptr,
          memory.template get<double>(voxels), memory.template get<int32_t>(voxels)};
}

template <class T, class Stream>
void run_histogram_bins(Stream stream, const TextureShape& s, const Bins& bins, const T* x, const bool* mask, int64_t maps,
                        const HistogramMaps& m) {
  const TextureBox box = texture_box(s, maps);
  const int64_t count = maps * s.plane();
  MS_LAUNCH((histogram_bins_kernel<T>), dim3(blocks_for(count)), dim3(kThreads), stream, x, mask, bins, count, m.code, m.share);
  MS_LAUNCH((histogram_columns_kernel<int32_t>), dim3(blocks_for(box.columns())), dim3(kThreads), stream, m.code,
            (const int64_t*)nullptr, box, (int64_t)-1, (int64_t)1, m.columns);
  MS_LAUNCH((histogram_inverse_kernel), dim3(blocks_for(count)), dim3(kThreads), stream, m.columns, box, m.inverse);
}

template <class T, class Sum, class Workspace, class Stream>
void run_histogram_sums(Workspace& memory, Stream stream, const TextureShape& s, const Bins& bins, const T* x, const bool* mask,
                        T* out) {
  const HistogramPass pass = histogram_pass(s, bins.count, sizeof(Sum));
  const int64_t plane = s.plane();
  const HistogramMaps m = histogram_maps(memory, bins, pass.maps * plane);
  Sum* columns = memory.template get<Sum>(pass.maps * pass.bins * plane);
  for (int64_t map = 0; map < s.maps; map += pass.maps) {
    const int64_t n = std::min(pass.maps, s.maps - map);
    run_histogram_bins(stream, s, bins, x + map * plane, mask == nullptr ? nullptr : mask + map * plane, n, m);
    for (int64_t first = 0; first < bins.count; first += pass.bins) {
      const int64_t some = std::min(pass.bins, bins.count - first);
      const TextureBox box = texture_box(s, n * some);
      MS_LAUNCH((histogram_columns_kernel<Sum>), dim3(blocks_for(box.columns())), dim3(kThreads), stream, m.code, m.share,
                box, first, some, columns);
      MS_LAUNCH((histogram_rows_kernel<T, Sum>), dim3(blocks_for(box.planes * plane)), dim3(kThreads), stream, columns,
                m.inverse, box, first, some, bins.count, out + map * bins.count * plane);
    }
  }
}

// x, mask (or null) [maps, *size] and out [maps, bins, *size] contiguous.
template <class T, class Workspace, class Stream>
void run_local_histogram(Workspace& memory, Stream stream, const TextureShape& s, const Bins& bins, const T* x, const bool* mask,
                         T* out) {
  if (s.maps * s.plane() == 0) return;
  if (bins.soft) run_histogram_sums<T, int64_t>(memory, stream, s, bins, x, mask, out);
  else run_histogram_sums<T, int32_t>(memory, stream, s, bins, x, mask, out);
}

// The gradient of soft bins.
template <class T, class Workspace, class Stream>
void run_local_histogram_backward(Workspace& memory, Stream stream, const TextureShape& s, const Bins& bins, const T* grad,
                                  const T* x, const bool* mask, T* dx) {
  if (s.maps * s.plane() == 0) return;
  const int64_t plane = s.plane(), moves = bins.count - 1;  // from a bin to the next
  const HistogramPass pass = histogram_pass(s, moves, sizeof(double));
  const HistogramMaps m = histogram_maps(memory, bins, pass.maps * plane);
  double* columns = memory.template get<double>(pass.maps * pass.bins * plane);
  for (int64_t map = 0; map < s.maps; map += pass.maps) {
    const int64_t n = std::min(pass.maps, s.maps - map);
    const bool* inside = mask == nullptr ? nullptr : mask + map * plane;
    run_histogram_bins(stream, s, bins, x + map * plane, inside, n, m);
    for (int64_t first = 0; first < moves; first += pass.bins) {
      const int64_t some = std::min(pass.bins, moves - first);
      const TextureBox box = texture_box(s, n * some);
      MS_LAUNCH((histogram_gradient_columns_kernel<T>), dim3(blocks_for(box.columns())), dim3(kThreads), stream,
                grad + map * bins.count * plane, m.inverse, box, first, some, bins.count, columns);
      MS_LAUNCH((histogram_gradient_rows_kernel<T>), dim3(blocks_for(n * plane)), dim3(kThreads), stream, x + map * plane, inside,
                columns, texture_box(s, n), bins, first, some, dx + map * plane);
    }
  }
}

}  // namespace medseg
