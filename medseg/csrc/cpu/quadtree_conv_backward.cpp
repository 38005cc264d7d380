// medseg::quadtree_conv on the CPU, backward. The gradient map starts as a copy of the gradient of the output, which is the only
// pass over the whole map. Then the rounds follow in reverse order, and each changes the map at its own tiles.
#include <memory>

#include "../common/last_backend.h"
#include "huge_pages.h"
#include "quadtree_gradient.h"

namespace medseg::cpu {
namespace {

template <class E, class T>
class Backward {
 public:
  Backward(const QuadtreeProblem& problem, const QuadtreeInputs& in, const QuadtreeSaved<E, T>& saved,
           const QuadtreeGradients<T>& to)
      : p_(problem), table_(conv_table<T>()), parameters_(in), x_(read_view<E>(in.x)), saved_(saved), to_(to),
        row_(problem.latest), c_(problem.channels), width_(round_up(c_, table_.lanes)),
        tile_size_(problem.row_volume() * width_), factors_(sign_factors<T>((T)problem.settings.negative_slope())) {}

  void run() {
    size_t most = 0;
    for (const std::vector<int32_t>& list : p_.active) most = std::max(most, list.size());
    values_.reset(new T[most * tile_size_]);  // not initialised: every round writes what it reads
    prefer_huge_pages(values_.get(), most * tile_size_ * sizeof(T));
    for (int64_t r = p_.rounds - 1; r >= 0; --r) {
      for (size_t i = 0; i < p_.active[r].size(); ++i)  // now row_ tells what round r read
        if (p_.active[r][i] >= 0) row_[p_.active[r][i]] = p_.previous[p_.first_row[r] + i];
      const RoundMaps<T> maps(p_, parameters_, saved_.stats, r);
      if (to_.gate != nullptr) explore(r, maps);
      gather(r, maps);
      if (p_.settings.norm != kNoNorm) through_norm(r, maps);
      if (to_.weight != nullptr) weight_gradient(r);
      if (to_.needs_map || (r > 0 && p_.settings.mode != kParallel)) map_gradient(r);
    }
  }

 private:
  Overlay<E> overlay() const { return overlay_of<E>(p_, x_, saved_.store, row_.data()); }
  Overlay<E> source() const {
    return overlay_of<E>(p_, x_, saved_.store, p_.settings.mode == kParallel ? nullptr : row_.data());
  }
  bool linear() const { return p_.settings.activation == kNoActivation; }
  T slope() const { return (T)p_.settings.negative_slope(); }
  const E* row_data(int64_t row) const { return saved_.store + row * p_.row_volume() * c_; }

  // Where the gradient of y_r is read. In parallel mode it is that of the output in every round.
  const MapView<const T>& incoming() const { return p_.settings.mode == kParallel ? to_.grad : to_.map_read; }

  void read_gradient(const TileBox& box, const Pixels<T>& g, std::vector<T>& spare) const {
    const Window w = tile_window(box);
    for (int64_t z = 0; z < box.extent[0]; ++z)
      for (int64_t y = 0; y < box.extent[1]; ++y)
        load_row<T, T>(table_, incoming(), window_row(incoming(), w, z, y, 0), box.extent[2], pixel_line(g, z, y), g.line,
                       spare);
  }

  // Gate gradients of tiles that round r rejected. Their values after the round are computed here for the first time.
  void explore(int64_t r, const RoundMaps<T>& maps) {
    if (p_.explored[r].empty()) return;
    const PanelMatrix<T> w = forward_weights(table_, parameters_.weight.data() + r * c_ * c_ * p_.taps(), c_, c_, p_.taps());
    const std::vector<T> bias = padded_bias(parameters_.bias, r, c_, w.width);
    const Overlay<E> from = source(), before = overlay();
    torch::stable::parallel_for(0, (int64_t)p_.explored[r].size(), 1, [&](int64_t begin, int64_t end) {
      TileScratch<T> scratch(p_, from.patch_size(), width_);
      for (int64_t i = begin; i < end; ++i) {
        const int32_t tile = p_.explored[r][i];
        const TileBox box = tile_box(p_.grid, tile);
        const Pixels<const T> patch = from.patch(table_, box, scratch.patch.data(), scratch.spare);
        const Pixels<T> z = tile_pixels(p_, scratch.values.data(), width_), g = tile_pixels(p_, scratch.other.data(), width_);
        convolve_window(table_, w, p_.kernel, c_, bias.empty() ? nullptr : bias.data(), patch, box.extent, z);
        for_pixels(z, box, [&](T* v, int64_t) {
          if (p_.settings.norm != kNoNorm) maps.of(tile).apply(v, c_);
          if (!linear()) activate(v, c_, slope());
        });
        if (p_.settings.mode == kReplace) {
          read_before(before, row_[tile], box, g, scratch);
          for_both(z, g, box, [&](T* v, T* old) { for (int64_t c = 0; c < c_; ++c) v[c] -= old[c]; });
        }
        read_gradient(box, g, scratch.spare);
        to_.gate[r * p_.tiles + tile] = dot(z, g, box);
      }
    });
  }

  void read_before(const Overlay<E>& before, int32_t row, const TileBox& box, const Pixels<T>& to, TileScratch<T>& s) const {
    for (int64_t z = 0; z < box.extent[0]; ++z)
      for (int64_t y = 0; y < box.extent[1]; ++y)
        before.read_tile_line(table_, box, row, z, y, pixel_line(to, z, y), to.line, s.spare);
  }

  T dot(const Pixels<T>& a, const Pixels<T>& b, const TileBox& box) const {
    T sum = 0;
    for_both(a, b, box, [&](T* u, T* v) {
      T part = 0;
      for (int64_t c = 0; c < c_; ++c) part += u[c] * v[c];
      sum += part;
    });
    return sum;
  }

  // The gradient tiles of round r through the activation into `values_`; gate gradients of the active tiles.
  void gather(int64_t r, const RoundMaps<T>& maps) {
    const Overlay<E> before = overlay();
    const bool norm = p_.settings.norm != kNoNorm;
    if (norm) partial_.assign(p_.active[r].size() * 2 * c_, T(0));
    torch::stable::parallel_for(0, (int64_t)p_.active[r].size(), 1, [&](int64_t begin, int64_t end) {
      TileScratch<T> scratch(p_, 0, width_);
      for (int64_t i = begin; i < end; ++i) {
        const int32_t tile = p_.active[r][i];
        if (tile < 0) continue;
        const int64_t row = p_.first_row[r] + i;
        const TileBox box = tile_box(p_.grid, tile);
        const Pixels<T> g = tile_pixels(p_, values_.get() + i * tile_size_, width_);
        read_gradient(box, g, scratch.spare);
        if (to_.gate != nullptr) to_.gate[r * p_.tiles + tile] = change(before, row, tile, box, g, scratch);
        // The values that the round replaced receive no gradient.
        if (p_.settings.mode == kReplace) clear_window(to_.map, tile_window(box));
        if (norm) through_affine(maps.of(tile), row, box, g, partial_.data() + i * 2 * c_);
        else if (!linear()) through_activation(row, box, g);
      }
    });
  }

  // Scalar product of the gradient with y_r - y_{r-1} in the tile.
  T change(const Overlay<E>& before, int64_t row, int32_t tile, const TileBox& box, const Pixels<T>& g,
           TileScratch<T>& scratch) const {
    const Pixels<T> now = tile_pixels(p_, scratch.values.data(), width_), old = tile_pixels(p_, scratch.other.data(), width_);
    read_before(before, (int32_t)row, box, now, scratch);
    read_before(before, row_[tile], box, old, scratch);
    for_both(now, old, box, [&](T* v, T* o) { for (int64_t c = 0; c < c_; ++c) v[c] -= o[c]; });
    return dot(now, g, box);
  }

  void through_activation(int64_t row, const TileBox& box, const Pixels<T>& g) const {
    if (p_.settings.keeps_signs()) {
      const uint8_t* bits = saved_.signs() + row * p_.sign_bytes();
      return for_pixels(g, box, [&](T* v, int64_t p) { scale_by_signs(v, c_, p * c_, bits, factors_.data()); });
    }
    const E* z = row_data(row);
    const T factor = slope();
    for_pixels(g, box, [&](T* v, int64_t p) {
      for (int64_t c = 0; c < c_; ++c) v[c] *= activation_factor(static_cast<T>(z[p * c_ + c]), factor);
    });
  }

  // Through activation, scale and shift; the sums of the tile that normalisation needs go to `partial`.
  void through_affine(const Affine<T>& map, int64_t row, const TileBox& box, const Pixels<T>& g, T* partial) const {
    const E* u = saved_.pre_rows() + row * p_.row_volume() * c_;
    const T factor = linear() ? T(1) : slope();
    for_pixels(g, box, [&](T* v, int64_t p) {
      for (int64_t c = 0; c < c_; ++c) {
        const T centred = static_cast<T>(u[p * c_ + c]) - map.mean[c];
        v[c] *= activation_factor(centred * map.factor[c] + map.shift[c], factor);
        partial[c] += v[c];
        partial[c_ + c] += v[c] * (centred * map.rstd[c]);
      }
    });
  }

  // Gradients of scale and shift, then of the convolution: rstd * scale * (g - mean(g) - n * mean(g * n)).
  void through_norm(int64_t r, const RoundMaps<T>& maps) {
    const NormSums<T> sums(p_, partial_, r);
    if (to_.scale != nullptr) sums.total(c_, to_.scale + r * c_);
    if (to_.shift != nullptr) sums.total(0, to_.shift + r * c_);
    torch::stable::parallel_for(0, (int64_t)p_.active[r].size(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int32_t tile = p_.active[r][i];
        if (tile < 0) continue;
        const Affine<T>& map = maps.of(tile);
        const T* mean = sums.means(p_.group_of(tile));
        const E* u = saved_.pre_rows() + (p_.first_row[r] + i) * p_.row_volume() * c_;
        for_pixels(tile_pixels(p_, values_.get() + i * tile_size_, width_), tile_box(p_.grid, tile), [&](T* v, int64_t p) {
          for (int64_t c = 0; c < c_; ++c) {
            const T normal = (static_cast<T>(u[p * c_ + c]) - map.mean[c]) * map.rstd[c];
            v[c] = map.factor[c] * (v[c] - mean[c] - normal * mean[c_ + c]);
          }
        });
      }
    });
  }

  // Sums over fixed chunks of the list, added in order, so that the result is the same for every number of threads.
  void weight_gradient(int64_t r) {
    const int64_t n = (int64_t)p_.active[r].size(), depth = p_.taps() * c_, size = (depth + 1) * width_;
    const int64_t chunks = n < kChunks ? n : kChunks;
    const Overlay<E> from = source();
    std::vector<T> sums(chunks * size, T(0));
    torch::stable::parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
      TileScratch<T> scratch(p_, from.patch_size(), 0);
      for (int64_t chunk = begin; chunk < end; ++chunk) {
        T *dw = sums.data() + chunk * size, *db = dw + depth * width_;
        for (int64_t i = n * chunk / chunks; i < n * (chunk + 1) / chunks; ++i) {
          const int32_t tile = p_.active[r][i];
          if (tile < 0) continue;
          const TileBox box = tile_box(p_.grid, tile);
          const Pixels<T> g = tile_pixels(p_, values_.get() + i * tile_size_, width_);
          const Pixels<const T> patch = from.patch(table_, box, scratch.patch.data(), scratch.spare);
          correlate_window(table_, p_.kernel, c_, patch, read_only(g), box.extent, dw, width_);
          if (to_.bias != nullptr) for_pixels(g, box, [&](T* v, int64_t) { for (int64_t c = 0; c < c_; ++c) db[c] += v[c]; });
        }
      }
    });
    if (n > 0)
      add_chunks(sums.data(), chunks, p_.taps(), c_, c_, width_, to_.weight + r * c_ * depth, to_.bias ? to_.bias + r * c_ : nullptr);
  }

  // Tiles of one colour do not overlap, so their boxes with haloes are added to the map in parallel.
  void map_gradient(int64_t r) {
    const PanelMatrix<T> w =
        data_gradient_weights(table_, parameters_.weight.data() + r * c_ * c_ * p_.taps(), c_, c_, p_.kernel);
    std::vector<std::vector<int32_t>> colours(colour_count(p_.grid, p_.halo));
    for (size_t i = 0; i < p_.active[r].size(); ++i)
      if (p_.active[r][i] >= 0) colours[tile_colour(p_.grid, p_.halo, p_.active[r][i])].push_back((int32_t)i);
    int64_t box_size = width_;
    for (int i = 0; i < 3; ++i) box_size *= p_.grid.tile[i] + 2 * p_.halo[i];
    for (const std::vector<int32_t>& colour : colours)
      torch::stable::parallel_for(0, (int64_t)colour.size(), 1, [&](int64_t begin, int64_t end) {
        TileScratch<T> scratch(p_, box_size, 0);
        for (int64_t i = begin; i < end; ++i) {
          const TileBox box = tile_box(p_.grid, p_.active[r][colour[i]]);
          const Pixels<T> g = tile_pixels(p_, values_.get() + colour[i] * tile_size_, width_);
          Window w_box = tile_window(box);
          for (int axis = 0; axis < 3; ++axis) {
            w_box.start[axis] -= p_.halo[axis];
            w_box.extent[axis] += 2 * p_.halo[axis];
          }
          const Pixels<T> spread = dense_pixels(scratch.patch.data(), w_box.extent, width_);
          spread_window(table_, w, p_.kernel, c_, read_only(g), box.extent, spread);
          add_window(table_, to_.map, w_box, read_only(spread), scratch.spare);
        }
      });
  }

  const QuadtreeProblem& p_;
  const ConvTable<T>& table_;
  const QuadtreeParameters<T> parameters_;
  const MapView<const E> x_;
  const QuadtreeSaved<E, T>& saved_;
  const QuadtreeGradients<T>& to_;
  std::vector<int32_t> row_;
  std::unique_ptr<T[]> values_;  // gradient tiles of a round
  std::vector<T> partial_;
  const int64_t c_, width_, tile_size_;
  const std::vector<T> factors_;
};

struct Needs {
  bool x, weight, gate;
};

Tensor zeros_or_nothing(const Tensor& like, const std::optional<Tensor>& p, bool wanted, ScalarType kind) {
  if (!wanted || !p.has_value()) return torch::stable::new_zeros(like, {0}, kind);
  return torch::stable::new_zeros(like, full_shape(*p), kind);
}

// The gradient of a parameter in the parameter's own type; nothing in the type of the weights.
Tensor as_parameter(const Tensor& d, const std::optional<Tensor>& p, bool wanted, const Tensor& weight) {
  return as_type(d, wanted && p.has_value() ? p->scalar_type() : weight.scalar_type());
}

template <class T>
T* data_or_null(const Tensor& t) {
  return t.numel() == 0 ? nullptr : static_cast<T*>(t.data_ptr());
}

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

template <class E, class T>
Gradients run_backward(const QuadtreeProblem& p, const QuadtreeInputs& in, const Tensor& grad_in, const Tensor& store,
                       const Tensor& pre, const Tensor& stats, const Needs& need) {
  const ScalarType kind = std::is_same_v<T, double> ? ScalarType::Double : ScalarType::Float;
  const Tensor grad = as_type(grad_in, kind);
  Tensor map = empty_map(in.x, full_shape(in.x), kind, is_channels_last(in.x));
  prefer_huge_pages(map.data_ptr(), map.numel() * sizeof(T));
  torch::stable::copy_(map, grad);
  const std::optional<Tensor> weight = in.weight;
  Tensor dweight = zeros_or_nothing(in.x, weight, need.weight, kind), dbias = zeros_or_nothing(in.x, in.bias, need.weight, kind);
  Tensor dscale = zeros_or_nothing(in.x, in.scale, need.weight, kind);
  Tensor dshift = zeros_or_nothing(in.x, in.shift, need.weight, kind);
  Tensor dgate = torch::stable::new_zeros(in.x, {0}, kind);
  if (need.gate) dgate = torch::stable::new_zeros(in.x, {p.rounds, p.tiles}, kind);
  const QuadtreeSaved<E, T> saved{static_cast<const E*>(store.data_ptr()), pre.data_ptr(),
                                  static_cast<const T*>(stats.data_ptr())};
  const QuadtreeGradients<T> to{read_view<T>(grad), write_view<T>(map), read_view<T>(map), need.x,
                                data_or_null<T>(dweight), data_or_null<T>(dbias), data_or_null<T>(dscale),
                                data_or_null<T>(dshift), data_or_null<T>(dgate)};
  if (p.tiles > 0) Backward<E, T>(p, in, saved, to).run();
  Tensor dx = torch::stable::new_empty(in.x, {0});
  if (need.x && map.scalar_type() == in.x.scalar_type()) dx = map;
  else if (need.x) torch::stable::copy_(dx = empty_map(in.x, full_shape(in.x), in.x.scalar_type(), is_channels_last(in.x)), map);
  return {dx, as_parameter(dweight, weight, need.weight, in.weight), as_parameter(dbias, in.bias, need.weight, in.weight),
          as_parameter(dscale, in.scale, need.weight, in.weight), as_parameter(dshift, in.shift, need.weight, in.weight),
          dgate};
}

void check_saved(const char* op, const QuadtreeProblem& p, const Tensor& x, const Tensor& grad, const Tensor& store,
                 const Tensor& pre, const Tensor& stats) {
  require(grad.dim() == x.dim() && grad.scalar_type() == x.scalar_type(), op, "grad must match x");
  for (int64_t i = 0; i < x.dim(); ++i) require(grad.size(i) == x.size(i), op, "grad must have the shape of x");
  const int64_t values = p.rows() * p.row_volume() * p.channels;
  require(store.is_contiguous() && store.scalar_type() == x.scalar_type() && store.numel() == values, op,
          "store must be the one of the forward pass");
  const bool norm = p.settings.norm != kNoNorm;
  const int64_t expected = norm ? values : p.settings.keeps_signs() ? p.rows() * p.sign_bytes() : 0;
  const ScalarType type = p.settings.keeps_signs() ? ScalarType::Byte : x.scalar_type();
  require(pre.is_contiguous() && pre.scalar_type() == type && pre.numel() == expected, op,
          "pre must be the one of the forward pass");
  const ScalarType kind = x.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  require(stats.is_contiguous() && stats.scalar_type() == kind &&
              stats.numel() == (norm ? p.rounds * p.groups() * 2 * p.channels : 0), op,
          "stats must be the ones of the forward pass");
}

}  // namespace

Gradients quadtree_conv_backward(const Tensor& grad, const Tensor& x, const Tensor& weight,
                                 const std::optional<Tensor>& bias, const std::optional<Tensor>& scale,
                                 const std::optional<Tensor>& shift, const Tensor& index, const Tensor& count,
                                 const Tensor& explore, const Tensor& store, const Tensor& pre, const Tensor& stats,
                                 std::vector<int64_t> tile, std::vector<int64_t> rows, int64_t mode, int64_t activation,
                                 double slope, int64_t norm, double eps, bool need_x, bool need_weight, bool need_gate) {
  const char* op = "quadtree_conv_backward";
  const QuadtreeSettings settings{mode, activation, norm, slope, eps};
  const QuadtreeInputs in{x, weight, bias, scale, shift, index, count, explore, tile, rows, settings};
  const QuadtreeProblem p = quadtree_problem(op, in);
  check_saved(op, p, x, grad, store, pre, stats);
  const ScalarType type = x.scalar_type();
  const Needs need{need_x, need_weight, need_gate};
  const auto run = type == ScalarType::Double  ? run_backward<double, double>
                   : type == ScalarType::Float ? run_backward<float, float>
                                               : run_backward<torch::headeronly::BFloat16, float>;
  Gradients found = run(p, in, grad, store, pre, stats, need);
  note_backend(op, backend_name(type));
  return found;
}

STABLE_TORCH_LIBRARY_FRAGMENT(medseg, m) {
  m.def("quadtree_conv_backward(Tensor grad, Tensor x, Tensor weight, Tensor? bias, Tensor? scale, Tensor? shift, "
        "Tensor index, Tensor count, Tensor explore, Tensor store, Tensor pre, Tensor stats, int[] tile, int[] rows, "
        "int mode, int activation, float slope, int norm, float eps, bool need_x, bool need_weight, bool need_gate) -> "
        "(Tensor dx, Tensor dweight, Tensor dbias, Tensor dscale, Tensor dshift, Tensor dgate)");
}

STABLE_TORCH_LIBRARY_IMPL(medseg, CPU, m) { m.impl("quadtree_conv_backward", TORCH_BOX(&quadtree_conv_backward)); }

}  // namespace medseg::cpu
