// medseg::block_conv on the CPU, forward: each tile on its own, with packed results or results in a map of zeros.
#include "block_conv.h"

#include "../common/last_backend.h"
#include "lazy_zeros.h"

namespace medseg::cpu {

TileList tile_list(const char* op, const Tensor& index_in, const BlockGrid& grid) {
  const Tensor index = torch::stable::contiguous(index_in);
  const int32_t* at = index.const_data_ptr<int32_t>();
  const int64_t count = index.numel(), tiles = grid.batch * tiles_per_item(grid);
  TileList list;
  std::vector<bool> seen(tiles);
  for (int64_t a = 0; a < count; ++a) {
    const int64_t number = at[a];
    if (number == -1) continue;
    require(number >= 0 && number < tiles, op, "index holds tile " + std::to_string(number) + "; expected -1 or 0.." +
                                                   std::to_string(tiles - 1) + " (batch x grid)");
    require(!seen[number], op, "index holds tile " + std::to_string(number) + " twice; expected every tile once");
    seen[number] = true;
    list.position.push_back(a);
    list.number.push_back(number);
  }
  return list;
}

namespace {

struct Forward {
  const BlockProblem& problem;
  const TileList& list;
  bool zero_halo, packed;
};

// Where the tile is written: row `position` of the packed tiles, or its place in the map.
Window target_window(const Forward& f, int64_t i) {
  Window w = tile_window(f.problem, f.list.number[i], false);
  if (!f.packed) return w;
  w.batch = f.list.position[i];
  for (int axis = 0; axis < 3; ++axis) w.start[axis] = 0;
  return w;
}

template <class S, class T>
void convolve_tile(const Forward& f, const ConvTable<T>& table, const PanelMatrix<T>& weights, const T* bias,
                   const MapView<const S>& x, const MapView<S>& out, int64_t i, std::vector<T> (&scratch)[3]) {
  const BlockProblem& p = f.problem;
  const TileBox box = tile_box(p.grid, f.list.number[i]);
  const Window target = target_window(f, i);
  const bool whole = box.extent[0] == p.grid.tile[0] && box.extent[1] == p.grid.tile[1] && box.extent[2] == p.grid.tile[2];
  const bool none = outside(box);
  if (none && !f.packed) return;
  Pixels<const T> input{};
  if (!none) input = tile_input<S, T>(table, p, x, f.list.number[i], f.zero_halo, scratch[0], scratch[2]);
  if constexpr (std::is_same_v<S, T>) {
    const bool in_place = out.channel_stride == 1 && weights.width == p.out && (whole || !f.packed);
    if (in_place) {
      const Pixels<T> place{window_row(out, target, 0, 0, 0), out.stride[0], out.stride[1], out.stride[2]};
      return convolve_window(table, weights, p.kernel, p.in, bias, input, box.extent, place);
    }
  }
  scratch[1].resize(target.pixels() * weights.width);
  if (!whole) std::fill(scratch[1].begin(), scratch[1].end(), (T)0);
  const Pixels<T> place = dense_pixels(scratch[1].data(), target.extent, weights.width);
  if (!none) convolve_window(table, weights, p.kernel, p.in, bias, input, box.extent, place);
  store_window<S, T>(table, out, target, place.data, weights.width, scratch[2]);
}

template <class S, class T>
void run(const Forward& f, const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias_in, Tensor& out) {
  const BlockProblem& p = f.problem;
  const ConvTable<T>& table = conv_table<T>();
  const std::vector<T> w = values_as<T>(weight);
  const PanelMatrix<T> weights = forward_weights(table, w.data(), p.out, p.in, p.taps());
  std::vector<T> bias;
  if (bias_in) bias = values_as<T>(*bias_in);
  if (bias_in) bias.resize(weights.width);
  const T* bias_values = bias_in ? bias.data() : nullptr;
  const MapView<const S> from = read_view<S>(x);
  const MapView<S> to = write_view<S>(out);
  const int64_t work = tile_volume(p.grid) * p.taps() * p.in * p.out;
  torch::stable::parallel_for(0, f.list.number.size(), grain(work), [&](int64_t begin, int64_t end) {
    std::vector<T> scratch[3];
    for (int64_t i = begin; i < end; ++i)
      convolve_tile<S, T>(f, table, weights, bias_values, from, to, i, scratch);
  });
}

// Packed rows of -1 are zero.
void clear_skipped(const TileList& list, Tensor& out) {
  const int64_t count = out.size(0), row = count == 0 ? 0 : out.numel() / count * (int64_t)out.element_size();
  char* data = static_cast<char*>(out.data_ptr());
  size_t next = 0;
  for (int64_t a = 0; a < count; ++a) {
    if (next < list.position.size() && list.position[next] == a) ++next;
    else std::memset(data + a * row, 0, row);
  }
}

void clear_map(const BlockProblem& p, int64_t tiles, Tensor& out) {
  const bool half = out.element_size() == 2;
  const double touched = half ? touched_share(read_view<uint16_t>(out), p.grid.batch, tiles, p.grid.tile)
                              : touched_share(read_view<float>(out), p.grid.batch, tiles, p.grid.tile);
  lazy_zeros(out.data_ptr(), out.numel() * out.element_size(), touched);
}

Tensor block_conv(const Tensor& x, const Tensor& weight, const std::optional<Tensor>& bias, const Tensor& index,
                  const std::vector<int64_t>& tile, bool zero_halo, bool packed, const std::vector<int64_t>& grid) {
  const char* op = "block_conv";
  const BlockProblem p = check_block_conv(op, x, weight, index, tile, grid);
  check_bias(op, bias, x, p);
  const TileList list = tile_list(op, index, p.grid);
  Tensor out = empty_map(x, block_shape(p, index.numel(), packed), x.scalar_type(), is_channels_last(x));
  if (packed) clear_skipped(list, out);
  else clear_map(p, list.number.size(), out);
  const Forward f{p, list, zero_halo, packed};
  switch (x.scalar_type()) {
    case ScalarType::Double: run<double, double>(f, x, weight, bias, out); break;
    case ScalarType::Float: run<float, float>(f, x, weight, bias, out); break;
    case ScalarType::Half: run<torch::headeronly::Half, float>(f, x, weight, bias, out); break;
    default: run<torch::headeronly::BFloat16, float>(f, x, weight, bias, out);
  }
  note_backend(op, backend_name(x.scalar_type()));
  return out;
}

}  // namespace
}  // namespace medseg::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(medseg, m) {
  m.def("block_conv(Tensor x, Tensor weight, Tensor? bias, Tensor index, int[] tile, bool zero_halo=False, "
        "bool packed=True, int[] grid=[]) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(medseg, CPU, m) { m.impl("block_conv", TORCH_BOX(&medseg::cpu::block_conv)); }
