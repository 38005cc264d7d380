// Arguments of quadtree_conv and its backward pass, checked, with the lists of tiles read out.
#pragma once
#include <vector>

#include "../common/quadtree_conv_inputs.h"
#include "quadtree_overlay.h"

namespace medseg::cpu {

struct QuadtreeProblem {
  QuadtreeSettings settings;
  BlockGrid grid;
  int64_t kernel[3], halo[3];
  int64_t rounds, channels, tiles;              // tiles: of the whole batch
  std::vector<std::vector<int32_t>> active;     // of each round, in the order of the list; -1 is skipped
  std::vector<std::vector<int32_t>> explored;   // rejected tiles
  std::vector<int64_t> first_row;               // rounds + 1: where each round begins in the store
  std::vector<int32_t> previous;                // of each row of the store: the tile's row before, or -1
  std::vector<int32_t> latest;                  // of each tile: its last row, or -1

  int64_t groups() const { return settings.groups(grid.batch); }
  int64_t group_of(int64_t tile) const { return settings.norm == kInstanceNorm ? tile / tiles_per_item(grid) : 0; }
  int64_t row_volume() const { return tile_volume(grid); }
  int64_t sign_bytes() const { return (row_volume() * channels + 7) / 8; }
  int64_t rows() const { return first_row.back(); }
  int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
  std::vector<int64_t> store_shape(int64_t dims) const;
};

QuadtreeProblem quadtree_problem(const char* op, const QuadtreeInputs& in);

// Parameters of the rounds in the type of the arithmetic, [rounds, channels * ...] contiguous; empty if not given.
template <class T>
std::vector<T> parameter_values(const Tensor& p) {
  const Tensor t = torch::stable::contiguous(
      as_type(p, std::is_same_v<T, double> ? ScalarType::Double : ScalarType::Float));
  const T* values = static_cast<const T*>(t.data_ptr());
  return std::vector<T>(values, values + t.numel());
}

template <class T>
std::vector<T> parameter_values(const std::optional<Tensor>& p) {
  return p.has_value() ? parameter_values<T>(*p) : std::vector<T>{};
}

}  // namespace medseg::cpu
