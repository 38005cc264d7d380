// Index arithmetic of a map [B, C, z, y, x] covered by a raster of equal tiles. Tile numbers run over (batch, z, y, x), x
// fastest. Tiles at the far border may stick out of the map or lie outside of it. A 2-D map has one plane:
// size[0] = tile[0] = grid[0] = 1.
#pragma once
#include "host_device.h"

namespace medseg {

struct BlockGrid {
  int64_t batch;
  int64_t size[3];  // of the map along z, y, x
  int64_t tile[3];  // side of a tile
  int64_t grid[3];  // tiles along z, y, x; grid * tile >= size
};

struct TileBox {
  int64_t batch;
  int64_t start[3];
  int64_t extent[3];  // voxels of the tile inside the map; 0 where it lies outside
};

MS_HD int64_t tiles_per_item(const BlockGrid& g) { return g.grid[0] * g.grid[1] * g.grid[2]; }

MS_HD int64_t tile_volume(const BlockGrid& g) { return g.tile[0] * g.tile[1] * g.tile[2]; }

// Where tile `number` of the batch's raster lies.
MS_HD TileBox tile_box(const BlockGrid& g, int64_t number) {
  TileBox box;
  int64_t rest = number;
  for (int axis = 2; axis >= 0; --axis) {
    box.start[axis] = rest % g.grid[axis] * g.tile[axis];
    rest /= g.grid[axis];
    const int64_t inside = g.size[axis] - box.start[axis];
    box.extent[axis] = inside < 0 ? 0 : inside < g.tile[axis] ? inside : g.tile[axis];
  }
  box.batch = rest;
  return box;
}

// Number of the tile at a shift of (dz, dy, dx) tiles, or -1 beyond the grid.
MS_HD int64_t tile_neighbour(const BlockGrid& g, int64_t number, int64_t dz, int64_t dy, int64_t dx) {
  const int64_t x = number % g.grid[2] + dx;
  const int64_t y = number / g.grid[2] % g.grid[1] + dy;
  const int64_t z = number / (g.grid[2] * g.grid[1]) % g.grid[0] + dz;
  const bool inside = x >= 0 && x < g.grid[2] && y >= 0 && y < g.grid[1] && z >= 0 && z < g.grid[0];
  return inside ? number + (dz * g.grid[1] + dy) * g.grid[2] + dx : -1;
}

// Tiles that write a halo of `halo` voxels around themselves do not meet when they have the same colour: along each axis
// they are `colour_period` tiles apart (2 if the halo is at most half a tile, 1 without a halo).
MS_HD int64_t colour_period(int64_t tile, int64_t halo) { return (tile + 2 * halo + tile - 1) / tile; }

MS_HD int64_t colour_count(const BlockGrid& g, const int64_t halo[3]) {
  int64_t count = 1;
  for (int axis = 0; axis < 3; ++axis) count *= colour_period(g.tile[axis], halo[axis]);
  return count;
}

MS_HD int64_t tile_colour(const BlockGrid& g, const int64_t halo[3], int64_t number) {
  int64_t colour = 0, rest = number, scale = 1;
  for (int axis = 2; axis >= 0; --axis) {
    const int64_t period = colour_period(g.tile[axis], halo[axis]);
    colour += rest % g.grid[axis] % period * scale;
    scale *= period;
    rest /= g.grid[axis];
  }
  return colour;
}

}  // namespace medseg
