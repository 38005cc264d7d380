// Index arithmetic of a map [channels, z, y, x] that is cut into a raster of equal patches. A 2-D map has one plane:
// grid[0] = side[0] = 1. Strides are in elements, so every memory layout is read in place.
#pragma once
#include "host_device.h"

namespace medseg {

struct PatchGrid {
  int64_t channels;
  int64_t side[3];    // extent of a patch along z, y, x
  int64_t grid[3];    // patches along z, y, x
  int64_t stride[4];  // of channel, z, y, x
};

MS_HD int64_t patch_count(const PatchGrid& g) { return g.grid[0] * g.grid[1] * g.grid[2]; }

MS_HD int64_t patch_volume(const PatchGrid& g) { return g.side[0] * g.side[1] * g.side[2]; }

// Entries of one patch over all channels.
MS_HD int64_t patch_entries(const PatchGrid& g) { return g.channels * patch_volume(g); }

// Offset of the first voxel of patch k (raster order, x fastest).
MS_HD int64_t patch_offset(const PatchGrid& g, int64_t k) {
  const int64_t x = k % g.grid[2];
  const int64_t y = k / g.grid[2] % g.grid[1];
  const int64_t z = k / (g.grid[2] * g.grid[1]);
  return z * g.side[0] * g.stride[1] + y * g.side[1] * g.stride[2] + x * g.side[2] * g.stride[3];
}

// Offset of entry e inside a patch; entries run over channel (slowest), z, y, x.
MS_HD int64_t entry_offset(const PatchGrid& g, int64_t e) {
  const int64_t x = e % g.side[2];
  const int64_t y = e / g.side[2] % g.side[1];
  const int64_t z = e / (g.side[2] * g.side[1]) % g.side[0];
  const int64_t c = e / patch_volume(g);
  return c * g.stride[0] + z * g.stride[1] + y * g.stride[2] + x * g.stride[3];
}

}  // namespace medseg
