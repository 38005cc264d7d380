// Walks over the blocks of a round together with the larger blocks that hold them.
#pragma once
#include <vector>

#include "../common/quadtree_shape.h"

namespace medseg::cpu {

// visit(child, parent) for the blocks of round `fine` that reach into the image, in raster order; parents are of round r.
template <class Visit>
void each_child(const QuadtreeShape& s, int64_t fine, int64_t r, const Visit& visit) {
  const int64_t *grid = s.grid[fine], *up = s.grid[r], *inside = s.inside[fine];
  std::vector<int64_t> column(inside[2]);  // divided once, not per block
  for (int64_t x = 0; x < inside[2]; ++x) column[x] = x / (grid[2] / up[2]);
  for (int64_t z = 0; z < inside[0]; ++z)
    for (int64_t y = 0; y < inside[1]; ++y) {
      const int64_t line = (z * grid[1] + y) * grid[2];
      const int64_t upper = (z / (grid[0] / up[0]) * up[1] + y / (grid[1] / up[1])) * up[2];
      for (int64_t x = 0; x < inside[2]; ++x) visit(line + x, upper + column[x]);
    }
}

}  // namespace medseg::cpu
