// medseg::quadtree_conv on the CPU, forward. A round does not touch the whole map: it appends its active tiles to the store. One
// pass at the end writes the output from the input and the store.
#include "quadtree_conv.h"

#include "../common/last_backend.h"
#include "huge_pages.h"
#include "quadtree_output.h"

namespace medseg::cpu {
namespace {

template <class E, class T>
class Forward {
 public:
  Forward(const QuadtreeProblem& problem, const QuadtreeInputs& in, E* store, void* pre, T* stats)
      : p_(problem), table_(conv_table<T>()), parameters_(in), x_(read_view<E>(in.x)), store_(store), pre_(pre),
        stats_(stats), row_(problem.tiles, -1), c_(problem.channels), row_size_(problem.row_volume() * problem.channels) {}

  void run() {
    for (int64_t r = 0; r < p_.rounds; ++r) {
      convolve(r);
      if (p_.settings.norm != kNoNorm) {
        reduce(r);
        normalise(r);
      }
      for (size_t i = 0; i < p_.active[r].size(); ++i)
        if (p_.active[r][i] >= 0) row_[p_.active[r][i]] = (int32_t)(p_.first_row[r] + i);
    }
  }

 private:
  Overlay<E> overlay() const { return overlay_of<E>(p_, x_, store_, row_.data()); }
  Overlay<E> source() const {
    return overlay_of<E>(p_, x_, store_, p_.settings.mode == kParallel ? nullptr : row_.data());
  }

  void convolve(int64_t r) {
    const PanelMatrix<T> w = forward_weights(table_, parameters_.weight.data() + r * c_ * c_ * p_.taps(), c_, c_, p_.taps());
    const std::vector<T> bias = padded_bias(parameters_.bias, r, c_, w.width);
    const Overlay<E> from = source();
    const int64_t n = (int64_t)p_.active[r].size();
    for (int64_t row = p_.first_row[r] + n; row < p_.first_row[r + 1]; ++row) clear_row(row);
    if (p_.settings.norm != kNoNorm) partial_.assign(n * 2 * c_, T(0));
    torch::stable::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
      TileScratch<T> scratch(p_, from.patch_size(), w.width);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = p_.first_row[r] + i;
        const int32_t tile = p_.active[r][i];
        if (tile < 0) {
          clear_row(row);
          continue;
        }
        const TileBox box = tile_box(p_.grid, tile);
        if (!is_whole(box, p_.grid)) clear_row(row);
        const Pixels<const T> patch = from.patch(table_, box, scratch.patch.data(), scratch.spare);
        const Pixels<T> u = tile_pixels(p_, in_place(w.width) ? own_row(row) : scratch.values.data(), w.width);
        convolve_window(table_, w, p_.kernel, c_, bias.empty() ? nullptr : bias.data(), patch, box.extent, u);
        if (p_.settings.norm == kNoNorm) finish_tile(tile, row, box, u, scratch);
        else keep_for_norm(row, box, u, partial_.data() + i * 2 * c_);
      }
    });
  }

  // Whether the convolution can write into a row of the store directly.
  bool in_place(int64_t width) const { return std::is_same_v<E, T> && width == c_ && p_.settings.norm == kNoNorm; }
  T* own_row(int64_t row) const { return reinterpret_cast<T*>(store_ + row * row_size_); }

  void clear_row(int64_t row) {
    std::memset((void*)(store_ + row * row_size_), 0, row_size_ * sizeof(E));
    if (p_.settings.norm != kNoNorm) std::memset((void*)(pre_rows() + row * row_size_), 0, row_size_ * sizeof(E));
    if (p_.settings.keeps_signs()) std::memset((void*)(signs() + row * p_.sign_bytes()), 0, p_.sign_bytes());
  }

  // Activation, sum with the values before the round, and the row of the store.
  void finish_tile(int32_t tile, int64_t row, const TileBox& box, const Pixels<T>& u, TileScratch<T>& scratch) {
    const T slope = (T)p_.settings.negative_slope();
    const bool linear = p_.settings.activation == kNoActivation, adds = p_.settings.mode != kReplace;
    if (p_.settings.keeps_signs()) {
      uint8_t* bits = signs() + row * p_.sign_bytes();
      if (u.line != c_ || c_ % 8 != 0) std::memset(bits, 0, p_.sign_bytes());
      for_runs(u, box, [&](T* v, int64_t n, int64_t first) { write_signs(v, n, first, bits); });
    }
    const Overlay<E> before = overlay();
    E* to = store_ + row * row_size_;
    for (int64_t z = 0; z < box.extent[0]; ++z)
      for (int64_t y = 0; y < box.extent[1]; ++y) {
        T* v = pixel_line(u, z, y);
        const int64_t n = box.extent[2] * u.line;
        if (!linear) activate(v, n, slope);
        if (adds) {
          T* old = scratch.other.data();
          before.read_tile_line(table_, box, row_[tile], z, y, old, u.line, scratch.spare);
          for (int64_t i = 0; i < n; ++i) v[i] += old[i];
        }
        compact(v, box.extent[2], u.line, to + (z * p_.grid.tile[1] + y) * p_.grid.tile[2] * c_);
      }
  }

  void compact(const T* v, int64_t pixels, int64_t ld, E* to) const {
    if ((const void*)v == (const void*)to) return;
    if (ld == c_) return copy_values(v, pixels * c_, to);
    for (int64_t i = 0; i < pixels; ++i) copy_values(v + i * ld, c_, to + i * c_);
  }

  // f(values, n, first): stretches of n values without padding, `first` the number of the first one in the tile.
  template <class F>
  void for_runs(const Pixels<T>& u, const TileBox& box, const F& f) const {
    for_lines(u, box, [&](T* v, int64_t pixels, int64_t first) {
      if (u.line == c_) return f(v, pixels * c_, first * c_);
      for (int64_t i = 0; i < pixels; ++i) f(v + i * u.line, c_, (first + i) * c_);
    });
  }

  // The convolution goes to `pre`, its mean and squared deviations of the tile to `partial`.
  void keep_for_norm(int64_t row, const TileBox& box, const Pixels<T>& u, T* partial) {
    const T n = (T)pixels_in(box);
    T *mean = partial, *square = partial + c_;
    for_lines(u, box, [&](T* v, int64_t pixels, int64_t first) {
      compact(v, pixels, u.line, pre_rows() + row * row_size_ + first * c_);
      for (int64_t i = 0; i < pixels; ++i)
        for (int64_t c = 0; c < c_; ++c) mean[c] += v[i * u.line + c];
    });
    for (int64_t c = 0; c < c_; ++c) mean[c] /= n;
    for_lines(u, box, [&](T* v, int64_t pixels, int64_t) {
      for (int64_t i = 0; i < pixels; ++i)
        for (int64_t c = 0; c < c_; ++c) square[c] += (v[i * u.line + c] - mean[c]) * (v[i * u.line + c] - mean[c]);
    });
  }

  void reduce(int64_t r) {
    std::vector<Moments<T>> moments(p_.groups(), Moments<T>(c_));
    for (size_t i = 0; i < p_.active[r].size(); ++i) {
      const int32_t tile = p_.active[r][i];
      if (tile < 0) continue;
      const T* partial = partial_.data() + i * 2 * c_;
      moments[p_.group_of(tile)].merge((double)pixels_in(tile_box(p_.grid, tile)), partial, partial + c_);
    }
    for (int64_t g = 0; g < p_.groups(); ++g) {
      T* s = stats_ + (r * p_.groups() + g) * 2 * c_;
      const double n = moments[g].n;
      for (int64_t c = 0; c < c_; ++c) {
        s[c] = (T)moments[g].mean[c];
        s[c_ + c] = n > 0 ? (T)(1.0 / std::sqrt(moments[g].square[c] / n + p_.settings.eps)) : T(1);
      }
    }
  }

  void normalise(int64_t r) {
    std::vector<Affine<T>> maps;
    for (int64_t g = 0; g < p_.groups(); ++g)
      maps.emplace_back(stats_ + (r * p_.groups() + g) * 2 * c_, parameters_.of_round(parameters_.scale, r, c_),
                        parameters_.of_round(parameters_.shift, r, c_), c_);
    const int64_t n = (int64_t)p_.active[r].size();
    torch::stable::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) {
      TileScratch<T> scratch(p_, 0, c_);
      for (int64_t i = begin; i < end; ++i) {
        const int32_t tile = p_.active[r][i];
        if (tile < 0) continue;
        const int64_t row = p_.first_row[r] + i;
        const Affine<T>& map = maps[p_.group_of(tile)];
        const TileBox box = tile_box(p_.grid, tile);
        const Pixels<T> u = tile_pixels(p_, scratch.values.data(), c_);
        copy_values(pre_rows() + row * row_size_, row_size_, u.data);
        for_lines(u, box, [&](T* v, int64_t pixels, int64_t) {
          for (int64_t j = 0; j < pixels; ++j) map.apply(v + j * c_, c_);
        });
        finish_tile(tile, row, box, u, scratch);
      }
    });
  }

  E* pre_rows() const { return static_cast<E*>(pre_); }
  uint8_t* signs() const { return static_cast<uint8_t*>(pre_); }

  const QuadtreeProblem& p_;
  const ConvTable<T>& table_;
  const QuadtreeParameters<T> parameters_;
  const MapView<const E> x_;
  E* store_;
  void* pre_;
  T* stats_;
  std::vector<int32_t> row_;
  std::vector<T> partial_;
  const int64_t c_, row_size_;
};

template <class E, class T>
void run_forward(const QuadtreeProblem& p, const QuadtreeInputs& in, Tensor& out, Tensor& store, Tensor& pre, Tensor& stats) {
  Forward<E, T>(p, in, static_cast<E*>(store.data_ptr()), pre.data_ptr(), static_cast<T*>(stats.data_ptr())).run();
  const Overlay<E> last =
      overlay_of<E>(p, read_view<E>(in.x), static_cast<const E*>(store.data_ptr()), p.latest.data());
  write_output(last, conv_table<T>(), write_view<E>(out));
}

}  // namespace

std::tuple<Tensor, Tensor, Tensor, Tensor> quadtree_conv(
    const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias, const std::optional<Tensor>& scale,
    const std::optional<Tensor>& shift, const std::optional<Tensor>& gate, const Tensor& index, const Tensor& count,
    const Tensor& explore, std::vector<int64_t> tile, std::vector<int64_t> rows, int64_t mode, int64_t activation,
    double slope, int64_t norm, double eps) {
  const QuadtreeSettings settings{mode, activation, norm, slope, eps};
  const QuadtreeInputs in{x, weight, bias, scale, shift, index, count, explore, tile, rows, settings};
  const QuadtreeProblem p = quadtree_problem("quadtree_conv", in);
  const ScalarType type = x.scalar_type(), kind = type == ScalarType::Double ? type : ScalarType::Float;
  Tensor out = empty_map(x, full_shape(x), type, is_channels_last(x));
  Tensor store = torch::stable::new_empty(x, p.store_shape(x.dim() - 2));
  Tensor pre = torch::stable::new_empty(x, {0}), stats = torch::stable::new_empty(x, {0}, kind);
  if (norm != kNoNorm) {
    pre = torch::stable::new_empty(x, p.store_shape(x.dim() - 2));
    stats = torch::stable::new_empty(x, {p.rounds, p.groups(), 2, p.channels}, kind);
  } else if (settings.keeps_signs()) {
    pre = torch::stable::new_empty(x, {p.rows(), p.sign_bytes()}, ScalarType::Byte);
  }
  for (Tensor* t : {&out, &store, &pre}) prefer_huge_pages(t->data_ptr(), t->numel() * t->element_size());
  if (type == ScalarType::Double) run_forward<double, double>(p, in, out, store, pre, stats);
  else if (type == ScalarType::Float) run_forward<float, float>(p, in, out, store, pre, stats);
  else run_forward<torch::headeronly::BFloat16, float>(p, in, out, store, pre, stats);
  note_backend("quadtree_conv", backend_name(type));
  return {out, store, pre, stats};
}

STABLE_TORCH_LIBRARY_FRAGMENT(medseg, m) {
  m.def("quadtree_conv(Tensor x, Tensor weight, Tensor? bias, Tensor? scale, Tensor? shift, Tensor? gate, Tensor index, "
        "Tensor count, Tensor explore, int[] tile, int[] rows, int mode, int activation, float slope, int norm, float eps) "
        "-> (Tensor out, Tensor store, Tensor pre, Tensor stats)");
}

STABLE_TORCH_LIBRARY_IMPL(medseg, CPU, m) { m.impl("quadtree_conv", TORCH_BOX(&quadtree_conv)); }

}  // namespace medseg::cpu
