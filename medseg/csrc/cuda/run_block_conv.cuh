// Sequences of kernels behind block_conv and its backward pass.
#pragma once
#include "run_tile_conv.cuh"

namespace medseg {

// The map [batch, in, *size], the tiles (packed, or their places in a map) and the weight [out, in, taps] of one call.
template <class T>
struct BlockConv {
  ConvSizes sizes;
  const int32_t* index;
  int64_t rows;
  bool zero_halo;
  TileView<const T> x;
  const computed_t<T>* weight;
};

// `out` must hold zeros if it is a map.
template <class T, class Workspace, class Stream>
void run_block_conv(Workspace& memory, Stream stream, const BlockConv<T>& b, const computed_t<T>* bias, const TileView<T>& out) {
  if (b.rows == 0) return;
  const WeightShape shape{1, b.sizes.out, b.sizes.in, tap_count(b.sizes)};
  T* packed = memory.template get<T>(packed_weight_count<T>(shape));
  run_pack_weight<T>(stream, b.weight, shape, false, packed);
  const TileSource<T> from{b.x, b.zero_halo, nullptr, nullptr};
  run_tile_conv<T>(stream, b.sizes, false, {b.index, b.rows, from, packed, out, nullptr, {bias, kNoActivation, 0}});
}

// grad: of the tiles, packed or a map. Null results are not computed. dx must hold zeros if zero_halo.
template <class T, class Workspace, class Stream>
void run_block_conv_backward(Workspace& memory, Stream stream, const BlockConv<T>& b, const TileView<const T>& grad,
                             const TileView<T>& dx, computed_t<T>* dweight, computed_t<T>* dbias) {
  const TileSource<T> from{b.x, b.zero_halo, nullptr, nullptr}, gradient{grad, true, nullptr, nullptr};
  if (dweight != nullptr) run_weight_gradient<T>(memory, stream, b.sizes, b.index, b.rows, from, gradient, dweight);
  if (dbias != nullptr) run_channel_sums<T>(memory, stream, b.sizes.grid, b.index, b.rows, gradient, b.sizes.out, dbias);
  if (dx.data == nullptr) return;
  const WeightShape shape{1, b.sizes.in, b.sizes.out, tap_count(b.sizes)};
  T* packed = memory.template get<T>(packed_weight_count<T>(shape));
  run_pack_weight<T>(stream, b.weight, shape, true, packed);
  if (b.zero_halo) {
    const ConvSizes& s = b.sizes;
    const ConvSizes back{s.grid, {s.kernel[0], s.kernel[1], s.kernel[2]}, s.out, s.in};
    return run_tile_conv<T>(stream, back, false, {b.index, b.rows, gradient, packed, dx, nullptr, {nullptr, kNoActivation, 0}});
  }
  int32_t* row_of = memory.template get<int32_t>(b.sizes.grid.batch * tiles_per_item(b.sizes.grid));
  run_number_rows(memory, stream, b.sizes.grid, b.index, b.rows, row_of);
  run_input_gradient<T, T>(memory, stream, b.sizes, b.index, b.rows, row_of, gradient, packed, false, dx);
}

}  // namespace medseg
