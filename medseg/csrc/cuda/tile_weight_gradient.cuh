// Gradient of the weights: for every tap the product of the input (with its halo) and the gradient, over all pixels of the listed
// tiles. The list is cut into chunks that depend only on shapes, and the sums of the chunks are added in order.
#pragma once
#include "tile_conv.cuh"

namespace medseg {

constexpr int kGradientRows = 64;     // (input channel, tap) pairs of a block
constexpr int kGradientColumns = 64;  // output channels of a block

template <class T>
struct WeightGradient {
  BlockGrid grid;
  Pieces pieces;
  const int32_t* index;
  int64_t rows, in, out;
  TileSource<T> from;      // the input, haloed
  TileSource<T> gradient;  // of the tiles themselves
  int64_t groups;          // of pieces in one chunk
  computed_t<T>* parts;    // [chunk][out][in][tap]
  bool channels_first, gradient_channels_first;
};

template <class T>
constexpr int64_t gradient_slots() {
  return sizeof(T) == 8 ? 32 : 64;
}

// Most input channels that a block of rows touches.
MS_HD int32_t row_channels(int32_t taps) { return (kGradientRows - 2 + taps) / taps + 1; }

template <class T>
int64_t plain_gradient_shared(const Pieces& p) {
  const int64_t halo = (int64_t)p.group * halo_volume(p), pixels = (int64_t)p.group * volume(p.side);
  return (row_channels(volume(p.taps)) * channel_pitch((int32_t)halo) + kGradientColumns * (pixels + 1)) * (int64_t)sizeof(T) +
         halo * 8 + pixels * 12 + 32;
}

// Where the gradient of each pixel of a group is.
template <class T>
__device__ void find_gradients(const WeightGradient<T>& c, const Piece* pieces, int32_t pixels, int64_t* place) {
  for (int32_t i = threadIdx.x; i < pixels; i += blockDim.x) {
    int32_t at[3];
    const Piece& piece = pieces[i / volume(c.pieces.side)];
    pixel_offset(c.pieces, i, at);
    for (int axis = 0; axis < 3; ++axis) at[axis] += piece.origin[axis];
    place[i] = piece.live ? place_of(c.gradient, c.grid, c.out, piece, at) : kZero;
  }
}

template <class T>
__global__ void __launch_bounds__(256, 2) tile_weight_gradient_kernel(WeightGradient<T> c) {
  __shared__ Piece pieces[kMaxGroup];
  MS_DYNAMIC_SHARED(memory);
  const Pieces& p = c.pieces;
  const int32_t halo = p.group * halo_volume(p), taps = volume(p.taps), pitch = channel_pitch(halo);
  const int32_t pixels = p.group * volume(p.side);
  int64_t* place = reinterpret_cast<int64_t*>(memory);
  int64_t* gradient_place = place + halo;
  T* held = reinterpret_cast<T*>(gradient_place + pixels);
  T* gradient = held + row_channels(taps) * pitch;
  int32_t* offset = reinterpret_cast<int32_t*>(gradient + kGradientColumns * (pixels + 1));
  const int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  const int64_t row0 = (int64_t)blockIdx.x * kGradientRows, column0 = (int64_t)blockIdx.y * kGradientColumns;
  const int64_t first = row0 / taps, total = c.in * taps;
  const int32_t channels = (int32_t)((row0 + kGradientRows - 1) / taps - first + 1);
  int32_t row_offset[4];
  for (int i = 0; i < 4; ++i) {
    const int64_t row = row0 + ty + 16 * i < total ? row0 + ty + 16 * i : row0;
    row_offset[i] = (int32_t)(row / taps - first) * pitch + tap_offset(p, (int32_t)(row % taps));
  }
  for (int32_t i = threadIdx.x; i < pixels; i += blockDim.x) {
    int32_t at[3];
    offset[i] = pixel_offset(p, i, at);
  }
  T acc[4][4] = {};
  const int64_t piece_count = piece_total(p, c.rows);
  for (int64_t group = blockIdx.z * c.groups; group < (blockIdx.z + 1) * c.groups && group * p.group < piece_count; ++group) {
    __syncthreads();
    if (!read_pieces(c, group, pieces)) continue;
    find_places(c.from, c.grid, p, c.in, pieces, place);
    find_gradients(c, pieces, pixels, gradient_place);
    __syncthreads();
    load_channels(c.from, c.channels_first, place, halo, first, channels, c.in, pitch, held);
    load_channels(c.gradient, c.gradient_channels_first, gradient_place, pixels, column0, kGradientColumns, c.out, pixels + 1,
                  gradient);
    __syncthreads();
#pragma unroll 2
    for (int32_t q = 0; q < pixels; ++q) {
      T x[4], g[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) x[i] = held[row_offset[i] + offset[q]];
#pragma unroll
      for (int j = 0; j < 4; ++j) g[j] = gradient[(tx + 16 * j) * (pixels + 1) + q];
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) acc[i][j] += x[i] * g[j];
    }
  }
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int64_t row = row0 + ty + 16 * i, column = column0 + tx + 16 * j;
      if (row < total && column < c.out) c.parts[(blockIdx.z * c.out + column) * total + row] = acc[i][j];
    }
}

}  // namespace medseg
