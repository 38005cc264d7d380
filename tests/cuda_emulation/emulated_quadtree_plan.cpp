// Test only: quadtree_plan under emulation.
#include "emulated.h"
#include "run_quadtree_plan.cuh"

namespace {

using namespace medseg;
using medseg_emulation::Memory;

// numbers: batch, channels, rounds, size[3], grids[rounds][3], keep[rounds].
QuadtreeShape shape_of(const int64_t* numbers, SelectLimits& limits) {
  QuadtreeShape s{};
  s.batch = numbers[0];
  s.channels = numbers[1];
  s.rounds = numbers[2];
  const int64_t* grids = numbers + 6;
  for (int a = 0; a < 3; ++a) {
    s.size[a] = numbers[3 + a];
    for (int64_t r = 0; r < s.rounds; ++r) s.grid[r][a] = grids[3 * r + a];
    s.tile[a] = ceil_div(s.size[a], s.grid[s.rounds - 1][a]);
    s.cell[a] = ceil_div(s.tile[a], 4);
    s.cells[a] = ceil_div(s.tile[a], s.cell[a]);
    for (int64_t r = 0; r < s.rounds; ++r) s.inside[r][a] = ceil_div(s.size[a], s.tile[a] * block_tiles(s, r, a));
  }
  for (int64_t r = 0; r < s.rounds; ++r) {
    s.start[r + 1] = s.start[r] + block_count(s, r);
    limits.keep[r] = grids[3 * s.rounds + r];
  }
  return s;
}

template <class T>
void plan(const int64_t* numbers, const int64_t* strides, const double* step, const double* limit, int64_t metric, int64_t width,
          const T* x, T* score, int32_t* index, int32_t* count, bool* mask) {
  Memory memory;
  SelectLimits limits{};
  const QuadtreeShape s = shape_of(numbers, limits);
  limits.limited = limit != nullptr;
  for (int64_t r = 0; r < s.rounds && limit != nullptr; ++r) limits.limit[r] = limit[r];
  VoxelStrides v{{strides[0], strides[1], strides[2], strides[3], strides[4]}};
  Spacing spacing{};
  for (int a = 0; a < 3; ++a) {
    spacing.central[a] = 0.5 / step[a];
    spacing.one_sided[a] = 1.0 / step[a];
  }
  if (x != nullptr) run_block_scores<T>(memory, 0, s, (Metric)metric, x, v, spacing, score);
  run_quadtree_select<T>(memory, 0, s, limits, width, score, index, count, mask);
}

}  // namespace

#define DEFINE_FOR(T, SUFFIX)                                                                                             \
  API void emu_quadtree_plan_##SUFFIX(const int64_t* numbers, const int64_t* strides, const double* step,                 \
                                      const double* limit, int64_t metric, int64_t width, const T* x, T* score,           \
                                      int32_t* index, int32_t* count, bool* mask) {                                       \
    plan<T>(numbers, strides, step, limit, metric, width, x, score, index, count, mask);                                  \
  }

DEFINE_FOR(float, f32)
DEFINE_FOR(double, f64)

MS_SANITIZER_CASE(quadtree_plan) {
  int64_t numbers[] = {1, 2, 2, 1, 13, 10, 1, 2, 2, 1, 4, 4, 4, 5};
  const int64_t strides[] = {260, 130, 130, 10, 1};
  const double step[] = {1, 0.5, 2};
  const std::vector<float> x = medseg_emulation::waves(260);
  double sum = 0;
  for (int64_t metric = 0; metric < 5; ++metric) {
    numbers[13] = metric == 0 ? 5 : 16;  // one search bit by bit is enough: it has hundreds of barriers
    std::vector<float> score(20);
    std::vector<int32_t> index(2 * 16), count(2);
    std::vector<uint8_t> mask(2 * 16);
    emu_quadtree_plan_f32(numbers, strides, step, nullptr, metric, 16, x.data(), score.data(), index.data(), count.data(),
                          reinterpret_cast<bool*>(mask.data()));
    sum += medseg_emulation::sum_of(index) + medseg_emulation::sum_of(count);
  }
  return sum;
}
