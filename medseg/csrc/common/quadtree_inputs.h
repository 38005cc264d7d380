// Checks of the arguments of quadtree_plan and quadtree_select, for the CPU op and the CUDA launcher (stable ABI).
#pragma once
#include "op_inputs.h"
#include "quadtree_metric.h"
#include "quadtree_shape.h"

namespace medseg {

using Ints = std::vector<int64_t>;
using Floats = std::vector<double>;

struct QuadtreeChoice {
  QuadtreeShape shape;
  int64_t keep[kMaxRounds];
  double limit[kMaxRounds];
  bool limited;
  int64_t width;  // entries of a row of `index`
};

// size: 2 or 3 spatial axes.
inline QuadtreeChoice quadtree_choice(const char* op, int64_t batch, const Ints& size, const Ints& grids, const Ints& keep,
                                      const Floats& limit) {
  const int64_t dims = (int64_t)size.size(), rounds = (int64_t)keep.size();
  require(dims == 2 || dims == 3, op, "expected 2 or 3 spatial axes");
  require(rounds >= 1 && rounds <= kMaxRounds, op, "expected 1 to " + std::to_string(kMaxRounds) + " rounds");
  require((int64_t)grids.size() == rounds * dims, op, "grids and keep differ in their number of rounds");
  require(limit.empty() || (int64_t)limit.size() == rounds, op, "limit must be empty or hold one number per round");
  QuadtreeChoice c{};
  QuadtreeShape& s = c.shape;
  s.batch = batch;
  s.rounds = rounds;
  for (int a = 0; a < 3; ++a) {
    const int64_t i = a - (3 - dims);
    s.size[a] = i < 0 ? 1 : size[i];
    require(s.size[a] >= 1, op, "an axis of the image is empty");
    for (int64_t r = 0; r < rounds; ++r) {
      s.grid[r][a] = i < 0 ? 1 : grids[r * dims + i];
      require(s.grid[r][a] >= 1 && (r == 0 || s.grid[r][a] % s.grid[r - 1][a] == 0), op,
              "each grid must be a multiple of the round before");
    }
    s.tile[a] = ceil_div(s.size[a], s.grid[rounds - 1][a]);
    s.cell[a] = ceil_div(s.tile[a], 4);
    s.cells[a] = ceil_div(s.tile[a], s.cell[a]);
    for (int64_t r = 0; r < rounds; ++r) s.inside[r][a] = ceil_div(s.size[a], s.tile[a] * block_tiles(s, r, a));
  }
  const int64_t tiles = tile_count(s);
  require(batch * tiles < (int64_t)1 << 31, op, "more than 2^31 - 1 tiles in the batch");
  int64_t most = 0;
  for (int64_t r = 0; r < rounds; ++r) {
    require(keep[r] >= 0, op, "keep must not be negative");
    s.start[r + 1] = s.start[r] + block_count(s, r);
    c.keep[r] = keep[r] < block_count(s, r) ? keep[r] : block_count(s, r);
    c.limit[r] = limit.empty() ? 0.0 : limit[r];
    most = std::max(most, c.keep[r] * (tiles / block_count(s, r)));
  }
  c.limited = !limit.empty();
  c.width = batch * most;
  return c;
}

inline QuadtreeChoice check_quadtree_plan(const char* op, const Tensor& x, const Ints& grids, const Ints& keep,
                                          const Floats& limit, int64_t metric, const Floats& spacing) {
  require_float32_or_64(op, "x", x);
  require_map(op, x);
  require(x.size(1) >= 1, op, "x has no channel");
  require(metric >= (int64_t)Metric::kGradientMax && metric <= (int64_t)Metric::kEntropy, op, "metric must be 0 to 4");
  require((int64_t)spacing.size() == x.dim() - 2, op, "spacing must hold one number per axis");
  Ints size;
  for (int64_t i = 2; i < x.dim(); ++i) size.push_back(x.size(i));
  QuadtreeChoice c = quadtree_choice(op, x.size(0), size, grids, keep, limit);
  c.shape.channels = x.size(1);
  return c;
}

inline QuadtreeChoice check_quadtree_select(const char* op, const Tensor& score, const Ints& size, const Ints& grids,
                                            const Ints& keep, const Floats& limit) {
  require_float32_or_64(op, "score", score);
  require(score.dim() == 2, op, "score must be [B, sum of blocks]");
  const QuadtreeChoice c = quadtree_choice(op, score.size(0), size, grids, keep, limit);
  require(score.size(1) == c.shape.start[c.shape.rounds], op, "score must have one entry per block of every round");
  return c;
}

struct QuadtreeLists {
  Tensor index, count, mask;
};

// Uninitialised outputs on the device of `like`; dims: spatial axes.
inline QuadtreeLists new_quadtree_lists(const Tensor& like, const QuadtreeChoice& c, int64_t dims) {
  const QuadtreeShape& s = c.shape;
  Ints shape{s.rounds, s.batch};
  for (int64_t a = 3 - dims; a < 3; ++a) shape.push_back(s.grid[s.rounds - 1][a]);
  return {torch::stable::new_empty(like, {s.rounds, c.width}, ScalarType::Int),
          torch::stable::new_empty(like, {s.rounds}, ScalarType::Int), torch::stable::new_empty(like, shape, ScalarType::Bool)};
}

}  // namespace medseg
