// Convolution of listed tiles in float32 and float64: an implicit matrix product of up to 256 (128) pixels by 32 channels.
#pragma once
#include "../common/codes.h"
#include "pack_weight.cuh"

namespace medseg {

// Bias and activation, which are applied to a sum before it is written.
template <class T>
struct ConvEnd {
  const computed_t<T>* bias;  // [out] or null
  int32_t activation;         // Activation
  computed_t<T> slope;
};

// NaN stays NaN.
template <class A>
MS_HD A activated(A v, int32_t activation, A slope) {
  if (activation == kNoActivation || !(v < 0)) return v;
  return activation == kRelu ? (A)0 : v * slope;
}

// The arguments of a convolution kernel. index [rows]; weight as packed by pack_weight_kernel, one round of it.
template <class T>
struct TileConv {
  BlockGrid grid;
  Pieces pieces;
  const int32_t* index;
  int64_t rows, in, out;
  TileSource<T> from;
  const T* weight;
  TileView<T> to;
  computed_t<T>* wide;  // where 16-bit results go unrounded instead, laid out as `to`; or null
  ConvEnd<T> end;
  bool channels_first;  // neighbours in memory are positions, not channels
};

constexpr int kConvTaps = 9;  // taps whose weights are in shared memory at once

template <class T>
struct PlainConv {
  static constexpr int kRows = sizeof(T) == 4 ? 8 : 4;  // pixels of a thread, 32 apart
  static constexpr int kPixels = 32 * kRows;
};

// Distance of the channels in shared memory: 4 modulo 32, so that 8 channels of 4 pixels lie in 32 banks.
MS_HD int32_t channel_pitch(int32_t pixels) { return (pixels + 27) / 32 * 32 + 4; }

template <class T>
int64_t plain_conv_shared(const Pieces& p) {
  const int64_t halo = (int64_t)p.group * halo_volume(p), chunk = InputChunk<T>::value;
  return halo * 8 + (chunk * channel_pitch((int32_t)halo) + kConvTaps * chunk * kPanel) * (int64_t)sizeof(T) + 16;
}

// Offset of a tap from the first one inside a halo.
MS_HD int32_t tap_offset(const Pieces& p, int32_t tap) {
  const int32_t x = tap % p.taps[2], y = tap / p.taps[2] % p.taps[1], z = tap / (p.taps[2] * p.taps[1]);
  return (z * halo_side(p, 1) + y) * halo_side(p, 2) + x;
}

// Offset of pixel i of a group from the start of the group's haloes, and its position inside its piece.
MS_HD int32_t pixel_offset(const Pieces& p, int32_t i, int32_t at[3]) {
  pixel_position(p, i % volume(p.side), at);
  return i / volume(p.side) * halo_volume(p) + (at[0] * halo_side(p, 1) + at[1]) * halo_side(p, 2) + at[2];
}

// Copies channels [first, first + count) of the haloes into [channel][pitch]; channels from `channels` on are 0.
template <class T>
__device__ void load_channels(const TileSource<T>& from, bool channels_first, const int64_t* place, int32_t halo, int64_t first,
                              int32_t count, int64_t channels, int32_t pitch, T* held) {
  for (int32_t t = threadIdx.x; t < halo * count; t += blockDim.x) {
    const int32_t q = channels_first ? t % halo : t / count, c = channels_first ? t / halo : t % count;
    held[c * pitch + q] = first + c < channels ? value_at(from, place[q], first + c) : (T)0;
  }
}

// Reads the pieces of one group; false if none of them has anything to compute. Synchronises.
template <class Conv>
__device__ bool read_pieces(const Conv& c, int64_t group, Piece* pieces) {
  const int64_t first = group * c.pieces.group;
  if ((int)threadIdx.x < c.pieces.group)
    pieces[threadIdx.x] = piece_at(c.pieces, c.grid, c.index, c.rows, first + threadIdx.x);
  __syncthreads();
  bool live = false;
  for (int i = 0; i < c.pieces.group; ++i) live = live || pieces[i].live;
  return live;
}

template <class T>
__global__ void __launch_bounds__(256, 2) tile_conv_kernel(TileConv<T> c) {
  constexpr int chunk = InputChunk<T>::value, rows = PlainConv<T>::kRows;
  __shared__ Piece pieces[kMaxGroup];
  MS_DYNAMIC_SHARED(memory);
  const Pieces& p = c.pieces;
  const int32_t halo = p.group * halo_volume(p), taps = volume(p.taps), pitch = channel_pitch(halo);
  T* weights = reinterpret_cast<T*>(memory);
  T* held = weights + kConvTaps * chunk * kPanel;
  int64_t* place = reinterpret_cast<int64_t*>(held + chunk * pitch);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int32_t pixels = p.group * volume(p.side);
  const bool live = read_pieces(c, blockIdx.x, pieces);
  T acc[rows][4] = {};
  if (live) {
    find_places(c.from, c.grid, p, c.in, pieces, place);
    int32_t offset[rows], at[3];
    for (int i = 0; i < rows; ++i) offset[i] = lane + 32 * i < pixels ? pixel_offset(p, lane + 32 * i, at) : 0;
    const int64_t chunks = (c.in + chunk - 1) / chunk;
    const T* source = c.weight + blockIdx.y * chunks * taps * chunk * kPanel;
    for (int64_t c0 = 0; c0 < c.in; c0 += chunk) {
      __syncthreads();
      load_channels(c.from, c.channels_first, place, halo, c0, chunk, c.in, pitch, held);
      for (int32_t t0 = 0; t0 < taps; t0 += kConvTaps, __syncthreads()) {
        const int32_t t1 = t0 + kConvTaps < taps ? t0 + kConvTaps : taps;
        for (int32_t t = threadIdx.x; t < (t1 - t0) * chunk * kPanel; t += blockDim.x) weights[t] = source[t];
        source += (t1 - t0) * chunk * kPanel;
        __syncthreads();
        for (int32_t tap = t0; tap < t1; ++tap) {
          const T* x = held + tap_offset(p, tap);
          const T* w = weights + (tap - t0) * chunk * kPanel + warp * 4;
#pragma unroll 2
          for (int k = 0; k < chunk; ++k)
#pragma unroll
            for (int i = 0; i < rows; ++i) {
              const T v = x[k * pitch + offset[i]];
#pragma unroll
              for (int j = 0; j < 4; ++j) acc[i][j] += v * w[k * kPanel + j];
            }
        }
      }
    }
  }
  const int64_t first = (int64_t)blockIdx.y * kPanel + warp * 4;
#pragma unroll
  for (int i = 0; i < rows; ++i) {
    int32_t at[3];
    const int32_t pixel = lane + 32 * i;
    if (pixel >= pixels) continue;
    pixel_offset(p, pixel, at);
    const Piece& piece = pieces[pixel / volume(p.side)];
    if (piece.row >= c.rows) continue;
    const Target target = target_of(c.to, c.grid, p, piece, at);
    if (target.offset == kZero) continue;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (first + j >= c.out) continue;
      const T sum = acc[i][j] + (c.end.bias != nullptr ? c.end.bias[first + j] : (T)0);
      c.to.data[target.offset + (first + j) * c.to.stride[1]] = target.inside ? activated(sum, c.end.activation, c.end.slope) : (T)0;
    }
  }
}

}  // namespace medseg
