// Convolution of listed tiles in bfloat16 and float16 on tensor cores, sums in float32.
#pragma once
#include "tensor_core.cuh"

namespace medseg {

constexpr int kFragmentsPerWarp = 4;
constexpr int kConvFragments = 8 * kFragmentsPerWarp;
constexpr int kWeightPitch = kPanel + 8;  // rows of weights 80 bytes apart: eight of them lie in 32 banks
constexpr int kSumPitch = 20;

inline int64_t tensor_conv_shared(const Pieces& p) {
  const int64_t halo = (int64_t)p.group * halo_volume(p);
  const int64_t weights = kConvTaps * kFragment * kWeightPitch * 2, sums = 8 * kFragment * kSumPitch * 4;
  const int64_t held = (halo + kMarginPixels) * kFragment * 2;
  return (weights + held + halo * 8 > sums ? weights + held + halo * 8 : sums) + 16;
}

inline bool tensor_conv_fits(const Pieces& p) {
  return group_fragments(p) <= kConvFragments && tensor_conv_shared(p) <= 40 * 1024;
}

// Weights of taps [0, count) from [tap][16][kPanel] into rows of kWeightPitch.
template <class T>
__device__ void load_weights_16(const T* source, int32_t count, T* weights) {
  for (int32_t t = threadIdx.x; t < count * kFragment * (kPanel / 8); t += blockDim.x)
    *vector_pointer<uint4>(weights + t / (kPanel / 8) * kWeightPitch + t % (kPanel / 8) * 8) =
        *vector_pointer<const uint4>(source + t * 8);
}

// Writes one fragment of sums, held as [pixel][kSumPitch], 16 outputs from `first` on. One warp.
template <class T>
__device__ void write_fragment(const TileConv<T>& c, const Piece* pieces, int32_t fragment, int64_t first, const float* sums) {
  for (int t = threadIdx.x % 32; t < kFragment * kFragment; t += 32) {
    const int i = c.channels_first ? t % kFragment : t / kFragment, j = c.channels_first ? t / kFragment : t % kFragment;
    int32_t at[3];
    const Piece& piece = pieces[fragment_pixel(c.pieces, fragment, i, at)];
    if (first + j >= c.out || piece.row >= c.rows || !inside_piece(c.pieces, at)) continue;
    const Target target = target_of(c.to, c.grid, c.pieces, piece, at);
    if (target.offset == kZero) continue;
    float sum = sums[i * kSumPitch + j] + (c.end.bias != nullptr ? c.end.bias[first + j] : 0.f);
    sum = target.inside ? activated(sum, c.end.activation, c.end.slope) : 0.f;
    const int64_t place = target.offset + (first + j) * c.to.stride[1];
    if (c.wide != nullptr) c.wide[place] = sum;
    else c.to.data[place] = narrowed<T>(sum);
  }
}

template <class T>
__global__ void __launch_bounds__(256, 2) tensor_conv_kernel(TileConv<T> c, bool whole) {
  using namespace nvcuda;
  __shared__ Piece pieces[kMaxGroup];
  MS_DYNAMIC_SHARED(memory);
  const Pieces& p = c.pieces;
  const int32_t halo = p.group * halo_volume(p), taps = volume(p.taps), fragments = group_fragments(p);
  T* weights = reinterpret_cast<T*>(memory);
  T* held = weights + kConvTaps * kFragment * kWeightPitch;
  int64_t* place = reinterpret_cast<int64_t*>(held + (halo + kMarginPixels) * kFragment);
  const int warp = threadIdx.x / 32;
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> acc[kFragmentsPerWarp][2];
#pragma unroll
  for (int i = 0; i < kFragmentsPerWarp; ++i)
#pragma unroll
    for (int j = 0; j < 2; ++j) wmma::fill_fragment(acc[i][j], 0.f);
  if (read_pieces(c, blockIdx.x, pieces)) {
    find_places(c.from, c.grid, p, c.in, pieces, place);
    const T* source = c.weight + blockIdx.y * ((c.in + kFragment - 1) / kFragment) * taps * kFragment * kPanel;
    for (int32_t t = threadIdx.x; t < kMarginPixels * kFragment; t += blockDim.x)
      held[halo * kFragment + t] = narrowed<T>(0.f);
    for (int64_t c0 = 0; c0 < c.in; c0 += kFragment) {
      __syncthreads();
      load_halo_16(c.from, whole, c.channels_first, place, halo, c0, c.in, held);
      for (int32_t t0 = 0; t0 < taps; t0 += kConvTaps) {
        const int32_t count = taps - t0 < kConvTaps ? taps - t0 : kConvTaps;
        load_weights_16(source, count, weights);
        source += count * kFragment * kPanel;
        __syncthreads();
        for (int32_t tap = 0; tap < count; ++tap) {
          wmma::fragment<wmma::matrix_b, 16, 16, 16, T, wmma::row_major> b[2];
#pragma unroll
          for (int j = 0; j < 2; ++j)
            wmma::load_matrix_sync(b[j], weights + tap * kFragment * kWeightPitch + j * kFragment, kWeightPitch);
          const T* x = held + tap_offset(p, t0 + tap) * kFragment;
#pragma unroll
          for (int i = 0; i < kFragmentsPerWarp; ++i) {
            if (warp + 8 * i >= fragments) continue;
            wmma::fragment<wmma::matrix_a, 16, 16, 16, T, wmma::row_major> a;
            wmma::load_matrix_sync(a, x + fragment_start(p, warp + 8 * i) * kFragment, kFragment);
#pragma unroll
            for (int j = 0; j < 2; ++j) wmma::mma_sync(acc[i][j], a, b[j], acc[i][j]);
          }
        }
        __syncthreads();
      }
    }
  }
  __syncthreads();
  float* sums = reinterpret_cast<float*>(memory) + warp * kFragment * kSumPitch;
#pragma unroll
  for (int i = 0; i < kFragmentsPerWarp; ++i)
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      if (warp + 8 * i >= fragments) continue;
      wmma::store_matrix_sync(sums, acc[i][j], kSumPitch, wmma::mem_row_major);
      __syncwarp();
      write_fragment(c, pieces, warp + 8 * i, (int64_t)blockIdx.y * kPanel + j * kFragment, sums);
      __syncwarp();
    }
}

}  // namespace medseg
