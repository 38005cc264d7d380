// medseg::block_conv on the CPU, backward.
//
// Data gradient: every tile spreads its gradient into a padded scratch window, which is added to the map. Tiles of one
// colour do not overlap, and one colour follows the other. So there are no atomics, and every sum has the same order for any
// number of threads. Weight and bias gradient: the list is cut into chunks that depend only on the problem; every chunk has its
// own sums, and the chunks are added in order.
#include <memory>
#include <optional>

#include "../common/last_backend.h"
#include "block_conv.h"
#include "lazy_zeros.h"

namespace medseg::cpu {
namespace {

struct Backward {
  const BlockProblem& problem;
  const TileList& list;
  bool zero_halo, packed;
  bool fresh = false;  // no page of dx has been touched yet
};

// The gradient of a tile's voxels inside the map, `line` values a pixel; read in place if it lies in memory like that.
template <class S, class T>
Pixels<const T> tile_gradient(const ConvTable<T>& table, const Backward& b, const MapView<const S>& grad, int64_t i,
                              int64_t line, std::vector<T>& scratch, std::vector<T>& spare) {
  const TileBox box = tile_box(b.problem.grid, b.list.number[i]);
  Window w{b.packed ? b.list.position[i] : box.batch, {0, 0, 0}, {}};
  for (int axis = 0; axis < 3; ++axis) {
    if (!b.packed) w.start[axis] = box.start[axis];
    w.extent[axis] = box.extent[axis];
  }
  if constexpr (std::is_same_v<S, T>)
    if (grad.channel_stride == 1 && grad.stride[2] >= line && line == b.problem.out)
      return {window_row(grad, w, 0, 0, 0), grad.stride[0], grad.stride[1], grad.stride[2]};
  scratch.resize(w.pixels() * line);
  load_window<S, T>(table, grad, w, scratch.data(), line, spare);
  const Pixels<T> pixels = dense_pixels(scratch.data(), w.extent, line);
  return {pixels.data, pixels.plane, pixels.row, line};
}

template <class S, class T>
void spread_tile(const Backward& b, const ConvTable<T>& table, const PanelMatrix<T>& weights, const MapView<const S>& grad,
                 const MapView<T>& dx, int64_t i, std::vector<T> (&scratch)[3]) {
  const BlockProblem& p = b.problem;
  const TileBox box = tile_box(p.grid, b.list.number[i]);
  if (outside(box)) return;
  const int64_t line = round_up(p.out, table.lanes);
  const Pixels<const T> g = tile_gradient<S, T>(table, b, grad, i, line, scratch[0], scratch[2]);
  Window w{box.batch, {}, {}};
  for (int axis = 0; axis < 3; ++axis) {
    w.start[axis] = box.start[axis] - p.halo[axis];
    w.extent[axis] = box.extent[axis] + 2 * p.halo[axis];
  }
  scratch[1].resize(w.pixels() * weights.width);
  const Pixels<T> spread = dense_pixels(scratch[1].data(), w.extent, weights.width);
  spread_window(table, weights, p.kernel, p.out, g, box.extent, spread);
  Pixels<const T> part{spread.data, spread.plane, spread.row, spread.line};
  if (b.zero_halo) {  // the forward pass did not read the halo
    part.data += p.halo[0] * spread.plane + p.halo[1] * spread.row + p.halo[2] * spread.line;
    for (int axis = 0; axis < 3; ++axis) {
      w.start[axis] = box.start[axis];
      w.extent[axis] = box.extent[axis];
    }
  }
  add_window(table, dx, w, part, scratch[2], b.fresh);
}

template <class S, class T>
void data_gradient(const Backward& b, const Tensor& grad, const std::vector<T>& weight, Tensor& dx) {
  const BlockProblem& p = b.problem;
  const ConvTable<T>& table = conv_table<T>();
  const PanelMatrix<T> weights = data_gradient_weights(table, weight.data(), p.out, p.in, p.kernel);
  const MapView<const S> from = read_view<S>(grad);
  const MapView<T> to = write_view<T>(dx);
  const int64_t none[3] = {0, 0, 0};
  const int64_t* halo = b.zero_halo ? none : p.halo;
  std::vector<std::vector<int64_t>> colours(colour_count(p.grid, halo));
  for (size_t i = 0; i < b.list.number.size(); ++i)
    colours[tile_colour(p.grid, halo, b.list.number[i])].push_back(i);
  const int64_t work = tile_volume(p.grid) * p.taps() * p.in * p.out;
  for (const std::vector<int64_t>& tiles : colours)
    torch::stable::parallel_for(0, tiles.size(), grain(work), [&](int64_t begin, int64_t end) {
      std::vector<T> scratch[3];
      for (int64_t i = begin; i < end; ++i) spread_tile<S, T>(b, table, weights, from, to, tiles[i], scratch);
    });
}

// Sums of one chunk of tiles: rows (z, y, x, in) of `width` values, then one row for the bias.
template <class S, class T>
void correlate_tiles(const Backward& b, const ConvTable<T>& table, const MapView<const S>& x, const MapView<const S>& grad,
                     int64_t begin, int64_t end, bool need_weight, int64_t width, T* sums) {
  const BlockProblem& p = b.problem;
  std::vector<T> scratch[3];
  T* const bias = sums + p.taps() * p.in * width;
  for (int64_t i = begin; i < end; ++i) {
    const TileBox box = tile_box(p.grid, b.list.number[i]);
    if (outside(box)) continue;
    const Pixels<const T> g = tile_gradient<S, T>(table, b, grad, i, width, scratch[1], scratch[2]);
    for (int64_t z = 0; z < box.extent[0]; ++z)
      for (int64_t y = 0; y < box.extent[1]; ++y)
        for (int64_t v = 0; v < box.extent[2]; ++v) {
          const T* pixel = g.data + z * g.plane + y * g.row + v * g.line;
          for (int64_t c = 0; c < width; ++c) bias[c] += pixel[c];
        }
    if (!need_weight) continue;
    const Pixels<const T> input = tile_input<S, T>(table, p, x, b.list.number[i], b.zero_halo, scratch[0], scratch[2]);
    correlate_window(table, p.kernel, p.in, input, g, box.extent, sums, width);
  }
}

// At most 64 chunks, and at most about 32 MB of sums.
int64_t chunk_length(int64_t tiles, int64_t bytes) {
  const int64_t most = std::clamp<int64_t>((32 << 20) / bytes, 1, 64);
  return std::max<int64_t>(1, (tiles + most - 1) / most);
}

template <class S, class T>
void weight_gradient(const Backward& b, const Tensor& grad, const Tensor& x, bool need_weight, Tensor& dweight,
                     Tensor& dbias) {
  const BlockProblem& p = b.problem;
  const ConvTable<T>& table = conv_table<T>();
  const int64_t width = round_up(p.out, table.lanes), rows = p.taps() * p.in, size = (rows + 1) * width;
  const int64_t tiles = b.list.number.size(), length = chunk_length(tiles, size * sizeof(T));
  const int64_t chunks = (tiles + length - 1) / length;
  const std::unique_ptr<T[]> sums(new T[chunks * size]);
  const MapView<const S> from = read_view<S>(x), gradient = read_view<S>(grad);
  const int64_t work = length * tile_volume(p.grid) * rows * p.out;
  torch::stable::parallel_for(0, chunks, grain(work), [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      T* const own = sums.get() + c * size;
      std::fill(own, own + size, (T)0);
      correlate_tiles<S, T>(b, table, from, gradient, c * length, std::min(tiles, (c + 1) * length), need_weight, width, own);
    }
  });
  add_chunks(sums.get(), chunks, p.taps(), p.in, p.out, width, need_weight ? dweight.mutable_data_ptr<T>() : nullptr,
             dbias.mutable_data_ptr<T>());
}

struct Needs {
  bool x, weight, bias;
};

template <class S, class T>
TensorTriple run(Backward b, const Tensor& grad, const Tensor& x, const Tensor& weight, const Needs& need) {
  constexpr ScalarType type = std::is_same_v<T, double> ? ScalarType::Double : ScalarType::Float;
  const std::vector<int64_t> nothing{0};
  Tensor dx = need.x ? empty_map(x, full_shape(x), type, is_channels_last(x)) : torch::stable::new_empty(x, nothing);
  const bool sums = need.weight || need.bias;
  Tensor dweight = torch::stable::new_empty(x, need.weight ? full_shape(weight) : nothing, type);
  Tensor dbias = torch::stable::new_empty(x, sums ? std::vector<int64_t>{b.problem.out} : nothing, type);
  if (need.x) {
    const Window reach = tile_window(b.problem, 0, true);
    const double touched = touched_share(read_view<T>(dx), x.size(0), b.list.number.size(), reach.extent);
    b.fresh = lazy_zeros(dx.data_ptr(), dx.numel() * sizeof(T), touched);
    data_gradient<S, T>(b, grad, values_as<T>(weight), dx);
  }
  if (sums) weight_gradient<S, T>(b, grad, x, need.weight, dweight, dbias);
  if (!need.bias) dbias = torch::stable::new_empty(x, nothing);
  const ScalarType own = x.scalar_type();
  return {as_type(dx, own), as_type(dweight, own), as_type(dbias, own)};
}

TensorTriple block_conv_backward(const Tensor& grad, const Tensor& x, const Tensor& weight, const Tensor& index,
                                 const std::vector<int64_t>& tile, bool zero_halo, bool packed, bool need_x,
                                 bool need_weight, bool need_bias, const std::vector<int64_t>& grid) {
  const char* op = "block_conv_backward";
  const BlockProblem p = check_block_conv(op, x, weight, index, tile, grid);
  check_block_gradient(op, grad, x, p, index.numel(), packed);
  const TileList list = tile_list(op, index, p.grid);
  const Backward b{p, list, zero_halo, packed};
  const Needs need{need_x, need_weight, need_bias};
  TensorTriple result;
  switch (x.scalar_type()) {
    case ScalarType::Double: result = run<double, double>(b, grad, x, weight, need); break;
    case ScalarType::Float: result = run<float, float>(b, grad, x, weight, need); break;
    case ScalarType::Half: result = run<torch::headeronly::Half, float>(b, grad, x, weight, need); break;
    default: result = run<torch::headeronly::BFloat16, float>(b, grad, x, weight, need);
  }
  note_backend(op, backend_name(x.scalar_type()));
  return result;
}

}  // namespace
}  // namespace medseg::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(medseg, m) {
  m.def("block_conv_backward(Tensor grad, Tensor x, Tensor weight, Tensor index, int[] tile, bool zero_halo, bool packed, "
        "bool need_x, bool need_weight, bool need_bias, int[] grid=[]) -> (Tensor dx, Tensor dweight, Tensor dbias)");
}

STABLE_TORCH_LIBRARY_IMPL(medseg, CPU, m) { m.impl("block_conv_backward", TORCH_BOX(&medseg::cpu::block_conv_backward)); }
