// Sequences of kernels behind a convolution of listed tiles, shared by block_conv and quadtree_conv.
#pragma once
#include <type_traits>

#include "tensor_core_weight_gradient.cuh"
#include "tile_sums.cuh"

namespace medseg {

struct ConvSizes {
  BlockGrid grid;
  int64_t kernel[3];
  int64_t in, out;
};

inline int64_t tap_count(const ConvSizes& s) { return s.kernel[0] * s.kernel[1] * s.kernel[2]; }

template <class T>
constexpr bool on_tensor_cores = !std::is_same_v<T, computed_t<T>>;

// A kernel may use 48 KB of shared memory without a request to the driver. This budget leaves room for pieces and other static
// arrays.
constexpr int64_t kSharedBudget = 44 * 1024;

// haloed: the results of a tile reach half a kernel beyond it.
inline Pieces uncut(const ConvSizes& s, bool haloed) {
  Pieces p{};
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t halo = s.kernel[axis] / 2;
    p.taps[axis] = (int32_t)s.kernel[axis];
    p.margin[axis] = haloed ? (int32_t)halo : 0;
    p.box[axis] = (int32_t)(s.grid.tile[axis] + 2 * p.margin[axis]);
    p.shift[axis] = (int32_t)halo + p.margin[axis];
  }
  return p;
}

template <class T>
Pieces conv_pieces(const ConvSizes& s, bool haloed) {
  const Pieces p = uncut(s, haloed);
  if constexpr (on_tensor_cores<T>) return cut_pieces(p, kConvFragments * kFragment, tensor_conv_fits);
  else return cut_pieces(p, PlainConv<T>::kPixels, [](const Pieces& cut) { return plain_conv_shared<T>(cut) <= kSharedBudget; });
}

template <class T, class Stream>
void run_pack_weight(Stream stream, const computed_t<T>* weight, const WeightShape& shape, bool transposed, T* packed) {
  const WeightShape w = shape;
  const int64_t count = packed_weight_count<T>(w);
  MS_LAUNCH((pack_weight_kernel<T>), dim3(blocks_for(count)), dim3(kThreads), stream, weight, w, transposed, count, packed);
}

// What one convolution reads and writes; `wide`: see TileConv.
template <class T>
struct ConvCall {
  const int32_t* index;
  int64_t rows;
  TileSource<T> from;
  const T* weight;
  TileView<T> to;
  computed_t<T>* wide;
  ConvEnd<T> end;
};

template <class T>
bool channels_first(const TileView<const T>& v) {
  return v.stride[1] != 1;
}

template <class T, class Stream>
void run_tile_conv(Stream stream, const ConvSizes& s, bool haloed, const ConvCall<T>& call) {
  if (call.rows == 0) return;
  const Pieces p = conv_pieces<T>(s, haloed);
  const bool first = channels_first(call.from.view) && call.from.latest == nullptr;
  const TileConv<T> c{s.grid, p, call.index, call.rows, s.in, s.out, call.from, call.weight, call.to, call.wide, call.end, first};
  const dim3 grid((unsigned)divided_up(piece_total(p, call.rows), p.group), (unsigned)divided_up(s.out, kPanel));
  if constexpr (on_tensor_cores<T>) {
    const bool whole = whole_channels(call.from, s.in);
    MS_LAUNCH_SHARED((tensor_conv_kernel<T>), grid, dim3(256), tensor_conv_shared(p), stream, c, whole);
  } else {
    MS_LAUNCH_SHARED((tile_conv_kernel<T>), grid, dim3(256), plain_conv_shared<T>(p), stream, c);
  }
}

// How the sums of the weight gradient are split; depends on shapes alone, so that results do not depend on the device.
struct GradientSplit {
  Pieces pieces;
  int64_t groups, chunks;  // groups of pieces in a chunk
  int64_t across;          // blocks along x and y
};

template <class T>
GradientSplit gradient_split(const ConvSizes& s, int64_t rows) {
  GradientSplit split{uncut(s, false), 0, 0, 0};
  const int64_t taps = tap_count(s);
  if constexpr (on_tensor_cores<T>) {
    split.pieces = cut_pieces(split.pieces, kGradientFragments * kFragment, tensor_gradient_fits);
    split.across = divided_up(s.in, kFragment) * divided_up(taps, kTensorTaps) * divided_up(s.out, kTensorColumns);
  } else {
    split.pieces = cut_pieces(split.pieces, gradient_slots<T>(),
                              [](const Pieces& p) { return plain_gradient_shared<T>(p) <= kSharedBudget; });
    split.across = divided_up(s.in * taps, kGradientRows) * divided_up(s.out, kGradientColumns);
  }
  const int64_t groups = divided_up(piece_total(split.pieces, rows), split.pieces.group);
  const int64_t wanted = divided_up(528, split.across);
  split.groups = divided_up(groups, wanted) < 4 ? 4 : divided_up(groups, wanted);
  split.chunks = divided_up(groups, split.groups);
  return split;
}

// dweight [out, in, taps] = sum over listed tiles; `gradient` must be of the tiles' own positions.
template <class T, class Workspace, class Stream>
void run_weight_gradient(Workspace& memory, Stream stream, const ConvSizes& s, const int32_t* index, int64_t rows,
                         const TileSource<T>& from, const TileSource<T>& gradient, computed_t<T>* dweight) {
  using A = computed_t<T>;
  const int64_t count = s.out * s.in * tap_count(s);
  if (rows == 0) return memory.fill(dweight, 0, count * (int64_t)sizeof(A));
  const GradientSplit split = gradient_split<T>(s, rows);
  A* parts = split.chunks == 1 ? dweight : memory.template get<A>(split.chunks * count);
  const bool first = channels_first(from.view) && from.latest == nullptr, gradient_first = channels_first(gradient.view);
  const WeightGradient<T> c{s.grid, split.pieces, index, rows, s.in, s.out, from, gradient, split.groups, parts, first, gradient_first};
  if constexpr (on_tensor_cores<T>) {
    const bool whole = whole_channels(from, s.in), gradient_whole = whole_channels(gradient, s.out);
    const int64_t across = divided_up(s.in, kFragment) * divided_up(tap_count(s), kTensorTaps);
    const dim3 grid((unsigned)across, (unsigned)divided_up(s.out, kTensorColumns), (unsigned)split.chunks);
    MS_LAUNCH_SHARED((tensor_weight_gradient_kernel<T>), grid, dim3(256), tensor_gradient_shared(split.pieces), stream, c, whole,
                     gradient_whole);
  } else {
    const dim3 grid((unsigned)divided_up(s.in * tap_count(s), kGradientRows), (unsigned)divided_up(s.out, kGradientColumns),
                    (unsigned)split.chunks);
    MS_LAUNCH_SHARED((tile_weight_gradient_kernel<T>), grid, dim3(256), plain_gradient_shared<T>(split.pieces), stream, c);
  }
  const int64_t chunks = split.chunks;
  if (chunks > 1)
    MS_LAUNCH((sum_splits_kernel<A>), dim3(blocks_for(count)), dim3(kThreads), stream, parts, chunks, count, dweight);
}

// sums [channels] over the positions of the listed tiles.
template <class T, class Workspace, class Stream>
void run_channel_sums(Workspace& memory, Stream stream, const BlockGrid& grid, const int32_t* index, int64_t rows,
                      const TileSource<T>& from, int64_t channels, computed_t<T>* sums) {
  using A = computed_t<T>;
  if (rows == 0) return memory.fill(sums, 0, channels * (int64_t)sizeof(A));
  const BlockGrid g = grid;
  const TileSource<T> source = from;
  const int64_t length = divided_up(rows, 256), chunks = divided_up(rows, length);
  A* parts = chunks == 1 ? sums : memory.template get<A>(chunks * channels);
  MS_LAUNCH((channel_sums_kernel<T>), dim3((unsigned)divided_up(channels, 32), (unsigned)chunks), dim3(256), stream, source, g,
            index, rows, channels, length, parts);
  if (chunks > 1)
    MS_LAUNCH((sum_splits_kernel<A>), dim3(blocks_for(channels)), dim3(kThreads), stream, parts, chunks, channels, sums);
}

// Gradient of the input of a convolution: map = (accumulate: +=) what the gradient of the listed tiles gives. `weight` is packed
// transposed, `s` are the sizes of the forward convolution, row_of[tile] its row. M is the type of the map.
template <class T, class M, class Workspace, class Stream>
void run_input_gradient(Workspace& memory, Stream stream, const ConvSizes& s, const int32_t* index, int64_t rows,
                        const int32_t* row_of, const TileSource<T>& gradient, const T* weight, bool accumulate,
                        const TileView<M>& map) {
  using A = computed_t<T>;
  const ConvSizes back{s.grid, {s.kernel[0], s.kernel[1], s.kernel[2]}, s.out, s.in};
  int64_t haloed[3], positions = 1;
  for (int axis = 0; axis < 3; ++axis) positions *= haloed[axis] = s.grid.tile[axis] + s.kernel[axis] / 2 * 2;
  A* scratch = memory.template get<A>(rows * positions * s.in);
  TileView<T> to = row_view<T>(nullptr, haloed, s.in);
  A* wide = scratch;
  if constexpr (!on_tensor_cores<T>) to.data = scratch, wide = nullptr;
  run_tile_conv<T>(stream, back, true, {index, rows, gradient, weight, to, wide, {nullptr, kNoActivation, 0}});
  const HaloedRows<A> halos{scratch, row_of, {(int32_t)(s.kernel[0] / 2), (int32_t)(s.kernel[1] / 2), (int32_t)(s.kernel[2] / 2)}};
  const BlockGrid g = s.grid;
  const TileView<M> target = map;
  const int64_t tiles = g.batch * tiles_per_item(g), channels = s.in;
  const bool first = map.stride[1] != 1;
  if (tiles > 0)
    MS_LAUNCH((add_haloes_kernel<M>), dim3((unsigned)tiles), dim3(256), stream, halos, g, channels, accumulate, first, target);
}

// row_of [tiles]: the row of the list that names a tile, -1 for none.
template <class Workspace, class Stream>
void run_number_rows(Workspace& memory, Stream stream, const BlockGrid& g, const int32_t* index, int64_t rows, int32_t* row_of) {
  const int64_t tiles = g.batch * tiles_per_item(g);
  memory.fill(row_of, 0xff, tiles * (int64_t)sizeof(int32_t));
  if (rows > 0)
    MS_LAUNCH((number_rows_kernel), dim3(blocks_for(rows)), dim3(kThreads), stream, index, rows, tiles, row_of);
}

}  // namespace medseg
