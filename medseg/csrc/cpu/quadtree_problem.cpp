// Checks of quadtree_conv that only the CPU makes, and its lists of tiles.
#include "quadtree_problem.h"

namespace medseg::cpu {
namespace {

void check_count(const char* op, const QuadtreeInputs& in) {
  require(in.count.dim() == 1 && in.count.size(0) == in.weight.size(0) && in.count.scalar_type() == ScalarType::Int, op,
          "count must be int32 [R]");
}

void check_types(const char* op, const QuadtreeInputs& in) {
  const ScalarType type = in.x.scalar_type();
  require(type == ScalarType::Float || type == ScalarType::Double || type == ScalarType::BFloat16, op,
          "x must be float32, float64 or bfloat16 on the CPU");
  require(is_floating(in.weight.scalar_type()), op, "weight must be floating");
  for (const auto* p : {&in.bias, &in.scale, &in.shift})
    require(!p->has_value() || is_floating((*p)->scalar_type()), op, "bias, scale and shift must be floating");
}

// Numbers of one row of a list. marks: one entry a tile, set to `mark` for what has been seen.
std::vector<int32_t> read_row(const char* op, const char* name, const int32_t* numbers, int64_t n, int64_t round,
                              std::vector<int32_t>& marks, int32_t mark) {
  std::vector<int32_t> found(numbers, numbers + n);
  for (const int32_t t : found) {
    require(t >= -1 && t < (int64_t)marks.size(), op,
            std::string(name) + " names tile " + std::to_string(t) + " in round " + std::to_string(round + 1) +
                "; there are " + std::to_string(marks.size()));
    if (t < 0) continue;
    require(marks[t] != mark, op, std::string(name) + " names tile " + std::to_string(t) + " twice in round " +
                                      std::to_string(round + 1));
    marks[t] = mark;
  }
  return found;
}

void read_lists(const char* op, const QuadtreeInputs& in, QuadtreeProblem& p) {
  const std::vector<int64_t>& rows = in.rows;
  const Tensor index = torch::stable::contiguous(in.index), explore = torch::stable::contiguous(in.explore);
  const Tensor count = torch::stable::contiguous(in.count);
  const auto* numbers = static_cast<const int32_t*>(index.data_ptr());
  const auto* others = static_cast<const int32_t*>(explore.data_ptr());
  const auto* counts = static_cast<const int32_t*>(count.data_ptr());
  std::vector<int32_t> marks(p.tiles, 0), seen(p.tiles, 0);
  p.first_row = {0};
  p.latest.assign(p.tiles, -1);
  for (int64_t r = 0; r < p.rounds; ++r) {
    const int64_t n = counts[r];
    require(n >= 0 && n <= index.size(1), op, "count " + std::to_string(n) + " in round " + std::to_string(r + 1) +
                                                  "; the list has room for " + std::to_string(index.size(1)));
    require(rows[r] >= n, op, "rows reserves " + std::to_string(rows[r]) + " tiles in round " + std::to_string(r + 1) +
                                  ", count is " + std::to_string(n));
    p.active.push_back(read_row(op, "index", numbers + r * index.size(1), n, r, marks, (int32_t)r + 1));
    std::vector<int32_t> rejected;
    for (const int32_t t : read_row(op, "explore", others + r * explore.size(1), explore.size(1), r, seen, (int32_t)r + 1))
      if (t >= 0 && marks[t] != (int32_t)r + 1) rejected.push_back(t);
    p.explored.push_back(rejected);
    const int64_t first = p.first_row.back();
    p.first_row.push_back(first + rows[r]);
    p.previous.resize(first + rows[r], -1);
    for (int64_t i = 0; i < n; ++i) {
      const int32_t t = p.active[r][i];
      if (t < 0) continue;
      p.previous[first + i] = p.latest[t];
      p.latest[t] = (int32_t)(first + i);
    }
  }
}

}  // namespace

std::vector<int64_t> QuadtreeProblem::store_shape(int64_t dims) const {
  std::vector<int64_t> shape{rows()};
  for (int64_t axis = 3 - dims; axis < 3; ++axis) shape.push_back(grid.tile[axis]);
  shape.push_back(channels);
  return shape;
}

QuadtreeProblem quadtree_problem(const char* op, const QuadtreeInputs& in) {
  QuadtreeProblem p{};
  p.grid = check_quadtree_conv(op, in);
  check_count(op, in);
  check_types(op, in);
  p.settings = in.settings;
  p.rounds = in.weight.size(0);
  p.channels = in.x.size(1);
  for (int axis = 0; axis < 3; ++axis) {
    p.kernel[axis] = axis < 5 - in.x.dim() ? 1 : in.weight.size(3);
    p.halo[axis] = p.kernel[axis] / 2;
  }
  p.tiles = p.grid.batch * tiles_per_item(p.grid);
  read_lists(op, in, p);
  return p;
}

}  // namespace medseg::cpu
