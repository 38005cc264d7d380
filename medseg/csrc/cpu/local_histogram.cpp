// medseg::local_histogram and its gradient on the CPU: column sums slide down strips of rows, one bin at a time.
// Rules: medseg/ops/local_histogram.py.
#include <cmath>

#include "../common/last_backend.h"
#include "texture_strips.h"

namespace medseg::cpu {
namespace {

// Lower bin of every voxel of one map (-1: not counted), and in soft mode the share of the bin above.
struct BinnedMap {
  std::vector<int16_t> code;
  std::vector<double> share;
  std::vector<uint8_t> slopes;  // whether the share depends on the value
};

template <class T>
BinnedMap bin_map(const T* x, const bool* mask, const Bins& bins, int64_t voxels) {
  BinnedMap m{std::vector<int16_t>(voxels), std::vector<double>(bins.soft ? voxels : 0),
              std::vector<uint8_t>(bins.soft ? voxels : 0)};
  torch::stable::parallel_for(0, voxels, grain(8), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const double value = (double)x[i];
      if (!(value >= bins.low && value <= bins.high) || (mask != nullptr && !mask[i])) {
        m.code[i] = -1;
        continue;
      }
      const double position = (value - bins.low) * (double)bins.count / (bins.high - bins.low);
      if (!bins.soft) {
        m.code[i] = (int16_t)std::min<int64_t>((int64_t)position, bins.count - 1);
        continue;
      }
      const double inner = position - 0.5, place = std::min(std::max(inner, 0.0), (double)(bins.count - 1));
      m.code[i] = (int16_t)std::min<int64_t>((int64_t)place, bins.count - 2);
      m.share[i] = std::nearbyint((place - m.code[i]) * kShareUnit) / kShareUnit;
      m.slopes[i] = inner >= 0 && inner <= (double)(bins.count - 1);
    }
  });
  return m;
}

// How many voxels each window counts, inverted: 0 where there is none.
std::vector<double> inverse_counts(const TextureShape& s, const TextureTable& rows, const BinnedMap& m) {
  const int64_t width = s.size[2], window = 2 * s.radius[2] + 1, padded = width + window - 1;
  std::vector<double> inverse(s.plane());
  torch::stable::parallel_for(0, strips_of(s), 1, [&](int64_t begin, int64_t end) {
    std::vector<int32_t> column(padded), scratch(padded), sums(width);
    for (int64_t number = begin; number < end; ++number) {
      const Strip strip = strip_at(s, number);
      std::fill(column.begin(), column.end(), 0);
      for (int64_t y = strip.first; y < strip.last; ++y) {
        slide_to(s, whole_span(s.radius[0]), whole_span(s.radius[1]), strip.z, y, y == strip.first,
                 [&](int64_t z, int64_t row, int sign) {
                   rows.count_row(m.code.data() + (z * s.size[1] + row) * width, -1, sign, width, column.data() + s.radius[2]);
                 });
        rows.window_counts(column.data(), width, window, scratch.data(), sums.data());
        double* at = inverse.data() + (strip.z * s.size[1] + y) * width;
        for (int64_t x = 0; x < width; ++x) at[x] = sums[x] > 0 ? 1.0 / sums[x] : 0.0;
      }
    }
  });
  return inverse;
}

// One bin's plane over one strip. Sum is int32_t for hard bins and double for soft ones.
template <class T, class Sum>
void fill_strip(const TextureShape& s, const TextureTable& rows, const BinnedMap& m, const std::vector<double>& inverse,
                int64_t bin, const Strip& strip, T* plane) {
  const int64_t width = s.size[2], window = 2 * s.radius[2] + 1, padded = width + window - 1;
  std::vector<Sum> column(padded, 0), scratch(padded), sums(width);
  for (int64_t y = strip.first; y < strip.last; ++y) {
    slide_to(s, whole_span(s.radius[0]), whole_span(s.radius[1]), strip.z, y, y == strip.first,
             [&](int64_t z, int64_t row, int sign) {
               const int64_t at = (z * s.size[1] + row) * width;
               if constexpr (std::is_same_v<Sum, double>)
                 rows.share_row(m.code.data() + at, m.share.data() + at, (int16_t)bin, sign, width, column.data() + s.radius[2]);
               else
                 rows.count_row(m.code.data() + at, (int16_t)bin, sign, width, column.data() + s.radius[2]);
             });
    if constexpr (std::is_same_v<Sum, double>) rows.window_sums(column.data(), width, window, scratch.data(), sums.data());
    else rows.window_counts(column.data(), width, window, scratch.data(), sums.data());
    const int64_t at = (strip.z * s.size[1] + y) * width;
    for (int64_t x = 0; x < width; ++x) plane[at + x] = (T)(sums[x] * inverse[at + x]);
  }
}

template <class T>
void run_histogram(const Tensor& x, const bool* mask, const TextureShape& s, const Bins& bins, Tensor& out) {
  const TextureTable& rows = texture_table<T>();
  const int64_t voxels = s.plane();
  for (int64_t map = 0; map < s.maps; ++map) {
    const BinnedMap m = bin_map<T>(x.const_data_ptr<T>() + map * voxels, mask ? mask + map * voxels : nullptr, bins, voxels);
    const std::vector<double> inverse = inverse_counts(s, rows, m);
    T* planes = out.mutable_data_ptr<T>() + map * bins.count * voxels;
    const int64_t strips = strips_of(s);
    torch::stable::parallel_for(0, bins.count * strips, 1, [&](int64_t begin, int64_t end) {
      for (int64_t task = begin; task < end; ++task) {
        const int64_t bin = task / strips;
        const Strip strip = strip_at(s, task % strips);
        if (bins.soft) fill_strip<T, double>(s, rows, m, inverse, bin, strip, planes + bin * voxels);
        else fill_strip<T, int32_t>(s, rows, m, inverse, bin, strip, planes + bin * voxels);
      }
    });
  }
}

// The gradient of a voxel is the difference of its two bins' gradients, each divided by its window's count and summed over the
// windows that hold the voxel.
template <class T>
void run_backward(const Tensor& grad, const Tensor& x, const bool* mask, const TextureShape& s, const Bins& bins, Tensor& dx) {
  const TextureTable& rows = texture_table<T>();
  const int64_t voxels = s.plane(), width = s.size[2], window = 2 * s.radius[2] + 1, padded = width + window - 1;
  const double scale = (double)bins.count / (bins.high - bins.low);
  std::vector<double> planes(bins.count * voxels);
  for (int64_t map = 0; map < s.maps; ++map) {
    const BinnedMap m = bin_map<T>(x.const_data_ptr<T>() + map * voxels, mask ? mask + map * voxels : nullptr, bins, voxels);
    const std::vector<double> inverse = inverse_counts(s, rows, m);
    const T* g = grad.const_data_ptr<T>() + map * bins.count * voxels;
    for (int64_t i = 0; i < bins.count * voxels; ++i) planes[i] = (double)g[i];
    T* out = dx.mutable_data_ptr<T>() + map * voxels;
    torch::stable::parallel_for(0, strips_of(s), 1, [&](int64_t begin, int64_t end) {
      std::vector<double> column(padded), scratch(padded), sums(width);
      for (int64_t task = begin; task < end; ++task) {
        const Strip strip = strip_at(s, task);
        for (int64_t y = strip.first; y < strip.last; ++y)
          std::fill_n(out + (strip.z * s.size[1] + y) * width, width, (T)0);
        for (int64_t bin = 0; bin + 1 < bins.count; ++bin) {
          std::fill(column.begin(), column.end(), 0.0);
          for (int64_t y = strip.first; y < strip.last; ++y) {
            slide_to(s, whole_span(s.radius[0]), whole_span(s.radius[1]), strip.z, y, y == strip.first,
                     [&](int64_t z, int64_t row, int sign) {
                       const int64_t at = (z * s.size[1] + row) * width;
                       const double* plane = planes.data() + bin * voxels + at;
                       rows.difference_row(plane, plane + voxels, inverse.data() + at, sign, width, column.data() + s.radius[2]);
                     });
            rows.window_sums(column.data(), width, window, scratch.data(), sums.data());
            const int64_t at = (strip.z * s.size[1] + y) * width;
            for (int64_t i = 0; i < width; ++i)
              if (m.code[at + i] == bin && m.slopes[at + i]) out[at + i] = (T)(scale * sums[i]);
          }
        }
      }
    });
  }
}

Tensor local_histogram(const Tensor& x_in, std::optional<Tensor> mask_in, std::vector<int64_t> window, int64_t count,
                       double low, double high, bool soft) {
  const char* op = "local_histogram";
  const TextureShape s = texture_shape(op, x_in, mask_in, window);
  const Bins bins = check_bins(op, count, low, high, soft);
  const Tensor x = torch::stable::contiguous(x_in);
  const std::optional<Tensor> mask = mask_in ? std::optional<Tensor>(torch::stable::contiguous(*mask_in)) : std::nullopt;
  std::vector<int64_t> shape = full_shape(x);
  shape[1] *= count;
  Tensor out = torch::stable::new_empty(x, shape);
  const bool* inside = mask ? mask->const_data_ptr<bool>() : nullptr;
  if (x.scalar_type() == ScalarType::Double) run_histogram<double>(x, inside, s, bins, out);
  else run_histogram<float>(x, inside, s, bins, out);
  note_backend(op, backend_name(x.scalar_type()));
  return out;
}

Tensor local_histogram_backward(const Tensor& grad_in, const Tensor& x_in, std::optional<Tensor> mask_in,
                                std::vector<int64_t> window, int64_t count, double low, double high) {
  const char* op = "local_histogram_backward";
  const TextureShape s = texture_shape(op, x_in, mask_in, window);
  const Bins bins = check_bins(op, count, low, high, true);
  check_map_gradient(op, grad_in, x_in, count);
  const Tensor x = torch::stable::contiguous(x_in), grad = torch::stable::contiguous(grad_in);
  const std::optional<Tensor> mask = mask_in ? std::optional<Tensor>(torch::stable::contiguous(*mask_in)) : std::nullopt;
  Tensor dx = torch::stable::new_empty(x, full_shape(x));
  const bool* inside = mask ? mask->const_data_ptr<bool>() : nullptr;
  if (x.scalar_type() == ScalarType::Double) run_backward<double>(grad, x, inside, s, bins, dx);
  else run_backward<float>(grad, x, inside, s, bins, dx);
  note_backend(op, backend_name(x.scalar_type()));
  return dx;
}

}  // namespace
}  // namespace medseg::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(medseg, m) {
  m.def("local_histogram(Tensor x, Tensor? mask, int[] window, int bins, float low, float high, bool soft) -> Tensor");
  m.def("local_histogram_backward(Tensor grad, Tensor x, Tensor? mask, int[] window, int bins, float low, float high) -> "
        "Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(medseg, CPU, m) {
  m.impl("local_histogram", TORCH_BOX(&medseg::cpu::local_histogram));
  m.impl("local_histogram_backward", TORCH_BOX(&medseg::cpu::local_histogram_backward));
}
