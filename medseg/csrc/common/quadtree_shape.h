// Arithmetic of a quadtree partition (octree in 3-D): the grids of its rounds on an image. Axes are z, y, x; a 2-D image has
// one plane. Rules: medseg/ops/quadtree_plan.py.
#pragma once
#include "codes.h"
#include "host_device.h"

namespace medseg {

struct QuadtreeShape {
  int64_t batch, channels;
  int64_t rounds;
  int64_t size[3];                  // of the image in voxels
  int64_t tile[3];                  // side of a block of the last round, ceil(size / grid)
  int64_t cell[3], cells[3];        // side of a cell, and how many a tile has
  int64_t grid[kMaxRounds][3];      // blocks of each round
  int64_t inside[kMaxRounds][3];    // those that reach into the image
  int64_t start[kMaxRounds + 1];    // first score of each round in a sample's row
};

struct Index3 {
  int64_t at[3];
};

MS_HD int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

MS_HD int64_t block_count(const QuadtreeShape& s, int64_t r) { return s.grid[r][0] * s.grid[r][1] * s.grid[r][2]; }

MS_HD int64_t tile_count(const QuadtreeShape& s) { return block_count(s, s.rounds - 1); }

MS_HD Index3 unravel(const int64_t* grid, int64_t i) {
  return {{i / (grid[2] * grid[1]), i / grid[2] % grid[1], i % grid[2]}};
}

MS_HD int64_t ravel(const int64_t* grid, const Index3& i) { return (i.at[0] * grid[1] + i.at[1]) * grid[2] + i.at[2]; }

MS_HD bool block_inside(const QuadtreeShape& s, int64_t r, const Index3& i) {
  return i.at[0] < s.inside[r][0] && i.at[1] < s.inside[r][1] && i.at[2] < s.inside[r][2];
}

// Tiles along an axis in a block of round r.
MS_HD int64_t block_tiles(const QuadtreeShape& s, int64_t r, int axis) { return s.grid[s.rounds - 1][axis] / s.grid[r][axis]; }

// Number of the block of round r (coarser) that holds block i of round `fine`.
MS_HD int64_t parent_block(const QuadtreeShape& s, int64_t fine, const Index3& i, int64_t r) {
  Index3 p;
  for (int a = 0; a < 3; ++a) p.at[a] = i.at[a] / (s.grid[fine][a] / s.grid[r][a]);
  return ravel(s.grid[r], p);
}

// Voxels of the image in block i of round r.
MS_HD int64_t block_voxels(const QuadtreeShape& s, int64_t r, const Index3& i) {
  int64_t n = 1;
  for (int a = 0; a < 3; ++a) {
    const int64_t side = s.tile[a] * block_tiles(s, r, a), begin = i.at[a] * side;
    const int64_t end = begin + side < s.size[a] ? begin + side : s.size[a];
    n *= end > begin ? end - begin : 0;
  }
  return n;
}

// Voxels [begin, end) of the image along an axis in cell k of tile t.
MS_HD void cell_range(const QuadtreeShape& s, int axis, int64_t t, int64_t k, int64_t* begin, int64_t* end) {
  const int64_t first = t * s.tile[axis] + k * s.cell[axis];
  int64_t last = (k + 1 == s.cells[axis]) ? (t + 1) * s.tile[axis] : first + s.cell[axis];
  if (last > s.size[axis]) last = s.size[axis];
  *begin = first < last ? first : last;
  *end = last;
}

// The same shape for metrics that use whole tiles instead of cells.
MS_HD QuadtreeShape without_cells(QuadtreeShape s) {
  for (int a = 0; a < 3; ++a) {
    s.cell[a] = s.tile[a];
    s.cells[a] = 1;
  }
  return s;
}

}  // namespace medseg
