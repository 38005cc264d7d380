// Gradient of the weights in bfloat16 and float16 on tensor cores. A fragment of the left factor is 16 input channels by 16
// positions of the haloed raster, moved by a tap; the gradient lies on the same raster with zeros between its rows.
#pragma once
#include "tensor_core_conv.cuh"
#include "tile_weight_gradient.cuh"

namespace medseg {

constexpr int kTensorColumns = 64;        // output channels of a block
constexpr int kProductsPerWarp = 5;       // (tap, 16 output channels) pairs of a warp
constexpr int kTensorTaps = 8 * kProductsPerWarp / (kTensorColumns / kFragment);  // taps of a block
constexpr int kGradientPitch = kTensorColumns + 8;
constexpr int kGradientFragments = 12;

inline int64_t tensor_gradient_shared(const Pieces& p) {
  const int64_t halo = (int64_t)p.group * halo_volume(p), pixels = (int64_t)group_fragments(p) * kFragment;
  const int64_t working = (halo + kMarginPixels) * kFragment * 2 + pixels * kGradientPitch * 2 + halo * 8 + pixels * 8;
  const int64_t sums = 8 * kFragment * kSumPitch * 4;
  return (working > sums ? working : sums) + 16;
}

inline bool tensor_gradient_fits(const Pieces& p) {
  return group_fragments(p) <= kGradientFragments && tensor_gradient_shared(p) <= 46 * 1024;
}

// Where the gradient of each position of the group's fragments is.
template <class T>
__device__ void find_fragment_gradients(const WeightGradient<T>& c, const Piece* pieces, int32_t positions, int64_t* place) {
  for (int32_t i = threadIdx.x; i < positions; i += blockDim.x) {
    int32_t at[3];
    const Piece& piece = pieces[fragment_pixel(c.pieces, i / kFragment, i % kFragment, at)];
    const bool pixel = piece.live && inside_piece(c.pieces, at);
    for (int axis = 0; axis < 3; ++axis) at[axis] += piece.origin[axis];
    place[i] = pixel ? place_of(c.gradient, c.grid, c.out, piece, at) : kZero;
  }
}

// Loads 64 output channels of the gradient, from `first` on, as [position][kGradientPitch].
template <class T>
__device__ void load_fragment_gradients(const TileSource<T>& from, bool whole, bool channels_first, const int64_t* place,
                                        int32_t positions, int64_t first, int64_t channels, T* held) {
  constexpr int32_t eights = kTensorColumns / 8;
  if (whole) {
    for (int32_t t = threadIdx.x; t < positions * eights; t += blockDim.x) {
      const int64_t at = place[t / eights], c = first + t % eights * 8;
      uint4 eight = make_uint4(0, 0, 0, 0);
      if (at != kZero && c < channels) eight = *vector_pointer<const uint4>(from.view.data + at + c);
      *vector_pointer<uint4>(held + t / eights * kGradientPitch + t % eights * 8) = eight;
    }
    return;
  }
  for (int32_t t = threadIdx.x; t < positions * kTensorColumns; t += blockDim.x) {
    const int32_t q = channels_first ? t % positions : t / kTensorColumns, c = channels_first ? t / positions : t % kTensorColumns;
    held[q * kGradientPitch + c] = first + c < channels ? value_at(from, place[q], first + c) : narrowed<T>(0.f);
  }
}

// grid.x: blocks of 16 input channels times blocks of kTensorTaps taps; y: blocks of 64 output channels; z: chunks.
template <class T>
__global__ void __launch_bounds__(256, 2) tensor_weight_gradient_kernel(WeightGradient<T> c, bool whole, bool gradient_whole) {
  using namespace nvcuda;
  __shared__ Piece pieces[kMaxGroup];
  MS_DYNAMIC_SHARED(memory);
  const Pieces& p = c.pieces;
  const int32_t halo = p.group * halo_volume(p), taps = volume(p.taps), fragments = group_fragments(p);
  T* held = reinterpret_cast<T*>(memory);
  T* gradient = held + (halo + kMarginPixels) * kFragment;
  int64_t* place = reinterpret_cast<int64_t*>(gradient + fragments * kFragment * kGradientPitch);
  int64_t* gradient_place = place + halo;
  const int warp = threadIdx.x / 32;
  const int32_t tap_blocks = (taps + kTensorTaps - 1) / kTensorTaps, tap0 = blockIdx.x % tap_blocks * kTensorTaps;
  const int64_t in0 = (int64_t)(blockIdx.x / tap_blocks) * kFragment, out0 = (int64_t)blockIdx.y * kTensorColumns;
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> acc[kProductsPerWarp];
#pragma unroll
  for (int i = 0; i < kProductsPerWarp; ++i) wmma::fill_fragment(acc[i], 0.f);
  for (int32_t t = threadIdx.x; t < kMarginPixels * kFragment; t += blockDim.x) held[halo * kFragment + t] = narrowed<T>(0.f);
  const int64_t piece_count = piece_total(p, c.rows);
  for (int64_t group = blockIdx.z * c.groups; group < (blockIdx.z + 1) * c.groups && group * p.group < piece_count; ++group) {
    __syncthreads();
    if (!read_pieces(c, group, pieces)) continue;
    find_places(c.from, c.grid, p, c.in, pieces, place);
    find_fragment_gradients(c, pieces, fragments * kFragment, gradient_place);
    __syncthreads();
    load_halo_16(c.from, whole, c.channels_first, place, halo, in0, c.in, held);
    load_fragment_gradients(c.gradient, gradient_whole, c.gradient_channels_first, gradient_place, fragments * kFragment, out0,
                            c.out, gradient);
    __syncthreads();
    for (int32_t f = 0; f < fragments; ++f) {
      const T* x = held + fragment_start(p, f) * kFragment;
#pragma unroll
      for (int i = 0; i < kProductsPerWarp; ++i) {
        const int32_t product = warp * kProductsPerWarp + i, tap = tap0 + product / 4;
        if (tap >= taps) continue;
        wmma::fragment<wmma::matrix_a, 16, 16, 16, T, wmma::col_major> a;
        wmma::fragment<wmma::matrix_b, 16, 16, 16, T, wmma::row_major> b;
        wmma::load_matrix_sync(a, x + tap_offset(p, tap) * kFragment, kFragment);
        wmma::load_matrix_sync(b, gradient + f * kFragment * kGradientPitch + product % 4 * kFragment, kGradientPitch);
        wmma::mma_sync(acc[i], a, b, acc[i]);
      }
    }
  }
  __syncthreads();
  float* sums = reinterpret_cast<float*>(memory) + warp * kFragment * kSumPitch;
#pragma unroll
  for (int i = 0; i < kProductsPerWarp; ++i) {
    const int32_t product = warp * kProductsPerWarp + i, tap = tap0 + product / 4;
    if (tap >= taps) continue;
    wmma::store_matrix_sync(sums, acc[i], kSumPitch, wmma::mem_row_major);
    __syncwarp();
    for (int t = threadIdx.x % 32; t < kFragment * kFragment; t += 32) {
      const int64_t in = in0 + t / kFragment, out = out0 + product % 4 * kFragment + t % kFragment;
      if (in < c.in && out < c.out)
        c.parts[((blockIdx.z * c.out + out) * c.in + in) * taps + tap] = sums[t / kFragment * kSumPitch + t % kFragment];
    }
    __syncwarp();
  }
}

}  // namespace medseg
