// What the backward pass of quadtree_conv reads and writes, and the sums that a normalisation needs.
#pragma once
#include "quadtree_conv.h"

namespace medseg::cpu {

// Weight gradients are summed over this number of chunks of a list, or one a tile if there are fewer tiles.
constexpr int64_t kChunks = 16;

template <class E, class T>
struct QuadtreeSaved {
  const E* store;
  const void* pre;
  const T* stats;

  const E* pre_rows() const { return static_cast<const E*>(pre); }
  const uint8_t* signs() const { return static_cast<const uint8_t*>(pre); }
};

// Gradients that are not needed are null. The map holds the gradient of y_r during the backward pass, so it always exists.
template <class T>
struct QuadtreeGradients {
  MapView<const T> grad;  // of the output
  MapView<T> map;         // starts as a copy of it
  MapView<const T> map_read;
  bool needs_map;
  T *weight, *bias, *scale, *shift, *gate;
};

template <class T, class F>
inline void for_both(const Pixels<T>& a, const Pixels<T>& b, const TileBox& box, const F& f) {
  for_pixels(a, box, [&](T* v, int64_t p) { f(v, b.data + p * b.line); });
}

// The normalisation of a round, one map for the batch or one a sample; none without a norm.
template <class T>
class RoundMaps {
 public:
  RoundMaps(const QuadtreeProblem& p, const QuadtreeParameters<T>& parameters, const T* stats, int64_t round) : p_(p) {
    if (p.settings.norm == kNoNorm) return;
    for (int64_t g = 0; g < p.groups(); ++g)
      maps_.emplace_back(stats + (round * p.groups() + g) * 2 * p.channels,
                         parameters.of_round(parameters.scale, round, p.channels),
                         parameters.of_round(parameters.shift, round, p.channels), p.channels);
  }
  const Affine<T>& of(int64_t tile) const { return maps_[p_.group_of(tile)]; }

 private:
  const QuadtreeProblem& p_;
  std::vector<Affine<T>> maps_;
};

// Sums of g and of g times the normalised map, over the active positions of each group, added in the order of the list.
template <class T>
class NormSums {
 public:
  NormSums(const QuadtreeProblem& p, const std::vector<T>& partial, int64_t round)
      : channels_(p.channels), groups_(p.groups()), sums_(groups_ * 2 * channels_, 0.0), means_(sums_.size()) {
    std::vector<int64_t> count(groups_, 0);
    for (size_t i = 0; i < p.active[round].size(); ++i) {
      const int32_t tile = p.active[round][i];
      if (tile < 0) continue;
      const int64_t g = p.group_of(tile);
      count[g] += pixels_in(tile_box(p.grid, tile));
      for (int64_t c = 0; c < 2 * channels_; ++c) sums_[g * 2 * channels_ + c] += (double)partial[i * 2 * channels_ + c];
    }
    for (int64_t g = 0; g < groups_; ++g)
      for (int64_t c = 0; c < 2 * channels_; ++c) {
        const int64_t at = g * 2 * channels_ + c;
        means_[at] = count[g] > 0 ? (T)(sums_[at] / (double)count[g]) : T(0);
      }
  }
  const T* means(int64_t group) const { return means_.data() + group * 2 * channels_; }

  // Over all groups, `channels` values from `first` on.
  void total(int64_t first, T* out) const {
    for (int64_t c = 0; c < channels_; ++c) {
      double sum = 0;
      for (int64_t g = 0; g < groups_; ++g) sum += sums_[g * 2 * channels_ + first + c];
      out[c] = (T)sum;
    }
  }

 private:
  int64_t channels_, groups_;
  std::vector<double> sums_;
  std::vector<T> means_;
};

}  // namespace medseg::cpu
