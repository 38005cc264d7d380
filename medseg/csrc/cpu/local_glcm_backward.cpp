// medseg::local_glcm_backward on the CPU: the gradient of the features that are functions of sums over a window's pairs. A sum
// over the windows that contain a pair is again a sum over a box, that of the opposite offset.
#include "../common/glcm_inputs.h"
#include "../common/last_backend.h"
#include "glcm_sums.h"

namespace medseg::cpu {
namespace {

template <class T>
class Backward {
 public:
  Backward(const GlcmProblem& g, const TextureTable& table, const LevelMap& m, const T* grad, T* dx)
      : g_(g), table_(table), m_(m), grad_(grad), dx_(dx), slopes_(kPairSums * g.shape.plane()), da_(g.shape.plane()),
        db_(g.shape.plane()), sum_(g.shape.plane()) {}

  void run() {
    if (g_.groups == 1) count_offsets();
    for (size_t a = 0; a < g_.offsets.size(); ++a) {
      const PairRows p(g_.shape, g_.offsets[a]);
      slopes(p, g_.first(a));
      pairs(p);
      gather(p);
    }
    for (int64_t i = 0; i < g_.shape.plane(); ++i) dx_[i] = (T)sum_[i];
  }

 private:
  template <class Each>
  void each_strip(const Each& each) {
    torch::stable::parallel_for(0, strips_of(g_.shape), 1, [&](int64_t begin, int64_t end) {
      SumRows rows(g_.shape);
      std::vector<double> gradient(kLinearFeatures * g_.shape.size[2]);
      for (int64_t number = begin; number < end; ++number) each(strip_at(g_.shape, number), rows, gradient);
    });
  }

  int64_t row_at(int64_t z, int64_t y) const { return (z * g_.shape.size[1] + y) * g_.shape.size[2]; }

  // How many offsets have a pair in each window.
  void count_offsets() {
    seen_.assign(g_.shape.plane(), 0);
    for (const PairOffset& offset : g_.offsets) {
      const PairRows p(g_.shape, offset);
      each_strip([&](const Strip& strip, SumRows& rows, std::vector<double>&) {
        pair_sums(g_.shape, table_, m_, p, strip, true, rows, [&](int64_t y, const double* sums) {
          int32_t* seen = seen_.data() + row_at(strip.z, y);
          for (int64_t x = 0; x < g_.shape.size[2]; ++x) seen[x] += sums[x] > 0;
        });
      });
    }
  }

  // Gradients of the sums of every window.
  void slopes(const PairRows& p, int64_t first) {
    const int64_t width = g_.shape.size[2], plane = g_.shape.plane();
    each_strip([&](const Strip& strip, SumRows& rows, std::vector<double>& gradient) {
      std::vector<double> slope(kPairSums * width);
      pair_sums(g_.shape, table_, m_, p, strip, false, rows, [&](int64_t y, const double* sums) {
        const int64_t at = row_at(strip.z, y);
        for (int f = 0; f < kLinearFeatures; ++f) {
          const int64_t place = g_.maps.place[kLinear[f]];
          double* row = gradient.data() + f * width;
          if (place < 0) {
            std::fill_n(row, width, 0.0);
            continue;
          }
          const T* from = grad_ + (first + place) * plane + at;
          for (int64_t x = 0; x < width; ++x) row[x] = (double)from[x] / (seen_.empty() ? 1 : std::max(seen_[at + x], 1));
        }
        table_.slope_row(sums, gradient.data(), width, width, slope.data());
        for (int k = kAbsolute; k < kPairSums; ++k) std::copy_n(slope.data() + k * width, width, slopes_.data() + k * plane + at);
      });
    });
  }

  // Gradients of both voxels of every pair, at the place of the first.
  void pairs(const PairRows& p) {
    const TextureShape& s = g_.shape;
    const int64_t width = s.size[2], plane = s.plane(), n = p.last - p.first;
    const PairOffset back{{-p.offset.step[0], -p.offset.step[1], -p.offset.step[2]}};
    const PairRows q(s, back);
    std::fill(da_.begin(), da_.end(), 0.0);
    std::fill(db_.begin(), db_.end(), 0.0);
    if (n <= 0) return;
    each_strip([&](const Strip& strip, SumRows& r, std::vector<double>&) {
      std::fill(r.column.begin(), r.column.end(), 0.0);
      for (int64_t y = strip.first; y < strip.last; ++y) {
        slide_to(s, q.deep, q.rows, strip.z, y, y == strip.first, [&](int64_t z, int64_t row, int sign) {
          for (int k = kAbsolute; k < kPairSums; ++k) {
            const double* from = slopes_.data() + k * plane + row_at(z, row);
            double* column = r.column.data() + k * r.padded + s.radius[2];
            for (int64_t x = 0; x < width; ++x) column[x] += sign * from[x];
          }
        });
        const int64_t second = p.second_row(s, strip.z, y), at = row_at(strip.z, y) + p.first;
        if (second < 0) continue;
        for (int k = kAbsolute; k < kPairSums; ++k)
          table_.window_sums(r.column.data() + k * r.padded + q.left, width, q.width, r.scratch.data(), r.sums.data() + k * width);
        const int64_t b = second * width + p.first + p.offset.step[2];
        table_.pair_gradient_row(m_.value.data() + at, m_.value.data() + b, m_.valid.data() + at, m_.valid.data() + b,
                                 r.sums.data() + p.first, width, n, da_.data() + at, db_.data() + at);
      }
    });
  }

  // A voxel is the first of one pair and the second of another.
  void gather(const PairRows& p) {
    const TextureShape& s = g_.shape;
    const int64_t width = s.size[2];
    const PairRows q(s, PairOffset{{-p.offset.step[0], -p.offset.step[1], -p.offset.step[2]}});
    each_strip([&](const Strip& strip, SumRows&, std::vector<double>&) {
      for (int64_t y = strip.first; y < strip.last; ++y) {
        double* out = sum_.data() + row_at(strip.z, y);
        const double* first = da_.data() + row_at(strip.z, y);
        for (int64_t x = 0; x < width; ++x) out[x] += first[x];
        const int64_t other = q.second_row(s, strip.z, y);
        if (other < 0) continue;
        const double* second = db_.data() + other * width - p.offset.step[2];
        for (int64_t x = q.first; x < q.last; ++x) out[x] += second[x];
      }
    });
  }

  const GlcmProblem& g_;
  const TextureTable& table_;
  const LevelMap& m_;
  const T* grad_;
  T* dx_;
  std::vector<double> slopes_, da_, db_, sum_;
  std::vector<int32_t> seen_;
};

template <class T>
void run_backward(const Tensor& grad, const Tensor& x, const bool* mask, const GlcmProblem& g, Tensor& dx) {
  const TextureTable& table = texture_table<T>();
  const int64_t voxels = g.shape.plane();
  for (int64_t map = 0; map < g.shape.maps; ++map) {
    const LevelMap m = level_map<T>(x.const_data_ptr<T>() + map * voxels, mask ? mask + map * voxels : nullptr, g.levels, voxels);
    const T* from = grad.const_data_ptr<T>() + map * g.stride() * voxels;
    Backward<T>(g, table, m, from, dx.mutable_data_ptr<T>() + map * voxels).run();
  }
}

Tensor local_glcm_backward(const Tensor& grad_in, const Tensor& x_in, std::optional<Tensor> mask_in, std::vector<int64_t> window,
                           std::vector<int64_t> offsets, int64_t levels, int64_t features, bool mean) {
  const char* op = "local_glcm_backward";
  const GlcmProblem g = glcm_problem(op, x_in, mask_in, window, offsets, levels, features, mean);
  check_map_gradient(op, grad_in, x_in, g.stride());
  const Tensor x = torch::stable::contiguous(x_in), grad = torch::stable::contiguous(grad_in);
  const std::optional<Tensor> mask = mask_in ? std::optional<Tensor>(torch::stable::contiguous(*mask_in)) : std::nullopt;
  Tensor dx = torch::stable::new_empty(x, full_shape(x));
  const bool* inside = mask ? mask->const_data_ptr<bool>() : nullptr;
  if (x.scalar_type() == ScalarType::Double) run_backward<double>(grad, x, inside, g, dx);
  else run_backward<float>(grad, x, inside, g, dx);
  note_backend(op, backend_name(x.scalar_type()));
  return dx;
}

}  // namespace
}  // namespace medseg::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(medseg, m) {
  m.def("local_glcm_backward(Tensor grad, Tensor x, Tensor? mask, int[] window, int[] offsets, int levels, int features, "
        "bool mean) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(medseg, CPU, m) { m.impl("local_glcm_backward", TORCH_BOX(&medseg::cpu::local_glcm_backward)); }
