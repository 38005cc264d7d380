// Sums over the active positions of a round, by group (the batch, or one sample) and channel, in a fixed order: the statistics
// of its norm, and what their gradient needs.
#pragma once
#include "quadtree_rows.cuh"

namespace medseg {

enum RoundSum { kMeans, kDeviations, kGradients };

// parts [chunk][group][2][channel], counts [chunk][group] over one chunk of `length` rows. means: sums of values; deviations:
// of squared distances from the mean; gradients: of values (gradients) and of their products with the normalised `raw`.
// Blocks: 32 channels by chunks by groups.
template <class T>
__global__ void __launch_bounds__(256) round_sums_kernel(RoundTiles r, RoundRule<T> rule, RoundSum kind, const T* values, const T* raw,
                                                         int64_t length, computed_t<T>* parts, int64_t* counts) {
  __shared__ computed_t<T> part[256];
  const Pieces whole = whole_tiles(r.grid);
  const int64_t c = blockIdx.x * 32 + threadIdx.x % 32, first = blockIdx.y * length, group = blockIdx.z;
  const int64_t last = first + length < r.rows ? first + length : r.rows;
  const int32_t positions = (int32_t)tile_volume(r.grid);
  const bool mine = c < r.channels;
  const computed_t<T> mean = kind == kDeviations && mine ? rule.stats[group * 2 * r.channels + c] : (computed_t<T>)0;
  computed_t<T> sum = 0, product = 0;
  int64_t count = 0;
  for (int64_t a = first; a < last; ++a) {
    const Piece piece = piece_at(whole, r.grid, r.index, r.rows, a);
    if (!piece.live || (rule.groups > 1 && piece.batch != group)) continue;
    for (int32_t i = threadIdx.x / 32; i < positions; i += 8) {
      int32_t at[3];
      if (!tile_position(r.grid, piece, i, at)) continue;
      ++count;
      if (!mine) continue;
      const int64_t place = (a * positions + i) * r.channels + c;
      const computed_t<T> v = widened(values[place]) - mean;
      sum += kind == kDeviations ? v * v : v;
      if (kind == kGradients) product += v * normal_value(rule, piece.batch, r.channels, c, widened(raw[place]));
    }
  }
  sum = column_sum(sum, part);
  product = column_sum(product, part);
  const int64_t place = blockIdx.y * gridDim.z + group;
  if (threadIdx.x < 32 && mine) {
    parts[place * 2 * r.channels + c] = sum;
    parts[(place * 2 + 1) * r.channels + c] = product;
  }
  __syncthreads();
  __shared__ int64_t warp_count[8];
  if (threadIdx.x % 32 == 0) warp_count[threadIdx.x / 32] = count;
  __syncthreads();
  if (threadIdx.x == 0 && blockIdx.x == 0) {
    int64_t total = 0;
    for (int i = 0; i < 8; ++i) total += warp_count[i];
    counts[place] = total;
  }
}

// Adds the chunks. means, deviations: writes that row of the statistics [group][2][channel]; 0 and 1 where nothing is active.
// gradients: writes both sums, divided by the number of positions, into shares, and undivided into totals.
template <class A>
__global__ void __launch_bounds__(256) merge_round_sums_kernel(const A* parts, const int64_t* counts, int64_t chunks, int64_t groups,
                                                               int64_t channels, RoundSum kind, A eps, A* shares, A* totals) {
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < groups * channels; i += (int64_t)gridDim.x * blockDim.x) {
    const int64_t group = i / channels, c = i % channels;
    A sum = 0, product = 0;
    int64_t count = 0;
    for (int64_t s = 0; s < chunks; ++s) {
      const int64_t place = s * groups + group;
      sum += parts[place * 2 * channels + c];
      product += parts[(place * 2 + 1) * channels + c];
      count += counts[place];
    }
    const A n = (A)(count > 0 ? count : 1);
    A* out = shares + group * 2 * channels + c;
    if (kind == kMeans) out[0] = sum / n;
    if (kind == kDeviations) out[channels] = count > 0 ? 1 / (A)sqrt(sum / n + eps) : (A)1;
    if (kind != kGradients) continue;
    out[0] = sum / n;
    out[channels] = product / n;
    totals[group * 2 * channels + c] = sum;
    totals[(group * 2 + 1) * channels + c] = product;
  }
}

// g = gradient of the convolution from that of the norm's result, in place. shares: see above. One block a row.
template <class T>
__global__ void __launch_bounds__(256) norm_gradient_kernel(RoundTiles r, RoundRule<T> rule, const T* raw, const computed_t<T>* shares,
                                                            T* g) {
  const Piece piece = piece_at(whole_tiles(r.grid), r.grid, r.index, r.rows, blockIdx.x);
  const int32_t channels = (int32_t)r.channels, entries = (int32_t)tile_volume(r.grid) * channels;
  const int64_t group = rule.groups > 1 ? piece.batch : 0;
  if (!piece.live) return;
  for (int32_t e = threadIdx.x; e < entries; e += blockDim.x) {
    const int32_t c = e % channels;
    int32_t at[3];
    if (!tile_position(r.grid, piece, e / channels, at)) continue;
    const int64_t place = (int64_t)blockIdx.x * entries + e;
    const computed_t<T>* share = shares + group * 2 * channels + c;
    const computed_t<T> normal = normal_value(rule, piece.batch, channels, c, widened(raw[place]));
    const computed_t<T> d = widened(g[place]) - share[0] - normal * share[channels];
    g[place] = narrowed<T>(d * rule.stats[(group * 2 + 1) * channels + c] * (rule.scale != nullptr ? rule.scale[c] : (computed_t<T>)1));
  }
}

}  // namespace medseg
