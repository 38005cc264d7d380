// How the tiles of a list are cut into pieces that fit into shared memory. If tiles are small, one block of threads works on
// several pieces at once. The host chooses the cut; the device finds the piece and the pixel of a thread.
#pragma once
#include "../common/block_grid.h"
#include "launch.cuh"

namespace medseg {

constexpr int kMaxGroup = 32;

// Axes run z, y, x. A box is what a tile computes: itself, or itself and a margin around it. The value at box position o is
// summed over the taps t from tile position o + t - shift.
struct Pieces {
  int32_t box[3], margin[3];    // margin: of the box around the tile
  int32_t taps[3], shift[3];
  int32_t side[3], count[3];    // of a piece; pieces of a box
  int32_t group;                // pieces of one block of threads
};

struct Piece {
  int64_t row;         // in the list
  int32_t batch;
  int32_t start[3];    // of the tile in the map
  int32_t origin[3];   // of the piece in the box
  bool listed, live;   // the list names a tile; part of it may lie in the map
};

MS_HD int32_t volume(const int32_t side[3]) { return side[0] * side[1] * side[2]; }

MS_HD int32_t halo_side(const Pieces& p, int axis) { return p.side[axis] + p.taps[axis] - 1; }

MS_HD int32_t halo_volume(const Pieces& p) { return halo_side(p, 0) * halo_side(p, 1) * halo_side(p, 2); }

MS_HD int64_t piece_total(const Pieces& p, int64_t rows) { return rows * volume(p.count); }

// Piece number `i` of a list of `rows` tiles; numbers out of range are skipped.
MS_HD Piece piece_at(const Pieces& p, const BlockGrid& g, const int32_t* index, int64_t rows, int64_t i) {
  Piece piece{};
  const int32_t pieces = volume(p.count);
  piece.row = i / pieces;
  if (piece.row >= rows) return piece;
  const int32_t part = (int32_t)(i % pieces);
  const int32_t number = index[piece.row];
  piece.listed = number >= 0 && number < g.batch * tiles_per_item(g);
  piece.live = piece.listed;
  const TileBox box = tile_box(g, piece.listed ? number : 0);
  piece.batch = (int32_t)box.batch;
  const int32_t at[3] = {part / (p.count[2] * p.count[1]), part / p.count[2] % p.count[1], part % p.count[2]};
  for (int axis = 0; axis < 3; ++axis) {
    piece.start[axis] = (int32_t)box.start[axis];
    piece.origin[axis] = at[axis] * p.side[axis];
    piece.live = piece.live && box.start[axis] - p.margin[axis] + piece.origin[axis] < g.size[axis];
  }
  return piece;
}

// Position of pixel i inside a piece.
MS_HD void pixel_position(const Pieces& p, int32_t i, int32_t at[3]) {
  at[2] = i % p.side[2];
  at[1] = i / p.side[2] % p.side[1];
  at[0] = i / (p.side[2] * p.side[1]);
}

inline int64_t divided_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The cut that leaves the smallest number of the `slots` pixels of a block idle. fits(pieces): one block can hold the group.
template <class Fits>
Pieces cut_pieces(Pieces p, int64_t slots, const Fits& fits) {
  Pieces best{};
  double best_use = -1;
  const auto consider = [&] {
    p.group = (int32_t)(slots / volume(p.side) < kMaxGroup ? slots / volume(p.side) : kMaxGroup);
    while (p.group > 0 && !fits(p)) --p.group;
    if (p.group == 0) return;
    const double useful = (double)p.group * volume(p.box) / volume(p.count);
    const double use = useful / ((double)slots + 0.25 * p.group * halo_volume(p));  // a halo costs its loads
    if (use > best_use) best = p, best_use = use;
  };
  // The shortest side for its number of pieces; false for others.
  const auto set_side = [&](int axis, int64_t side) {
    p.count[axis] = (int32_t)divided_up(p.box[axis], side);
    p.side[axis] = (int32_t)divided_up(p.box[axis], p.count[axis]);
    return p.side[axis] == side;
  };
  for (int64_t z = 1; z <= p.box[0] && z <= slots; ++z)
    for (int64_t y = 1; set_side(0, z) && y <= p.box[1] && z * y <= slots; ++y)
      for (int64_t x = 1; set_side(1, y) && x <= p.box[2] && z * y * x <= slots; ++x)
        if (set_side(2, x)) consider();
  return best;
}

}  // namespace medseg
