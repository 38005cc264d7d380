// Sequences of kernels behind quadtree_conv and its backward pass: a few launches a round, without host synchronisation.
#pragma once
#include <vector>

#include "../common/quadtree_settings.h"
#include "quadtree_norm.cuh"
#include "run_tile_conv.cuh"

namespace medseg {

// One call. Lists are padded by -1; `rows` rows of the store belong to each round. Parameters [rounds, ...] or null.
template <class T>
struct QuadtreeConv {
  ConvSizes sizes;
  const int32_t *index, *explore;
  int64_t width, explore_width;  // of a round's list
  std::vector<int64_t> rows;
  QuadtreeSettings settings;
  TileView<const T> x;
  const computed_t<T>*weight, *bias, *scale, *shift;
};

// What the forward pass saves for the backward pass. pre: rows before the norm, or null; signs: or null; stats: or null.
template <class T>
struct QuadtreeState {
  T *store, *pre;
  uint8_t* signs;
  computed_t<T>* stats;
};

template <class T>
int64_t row_entries(const QuadtreeConv<T>& q) {
  return tile_volume(q.sizes.grid) * q.sizes.in;
}

template <class T>
int64_t tile_total(const QuadtreeConv<T>& q) {
  return q.sizes.grid.batch * tiles_per_item(q.sizes.grid);
}

template <class T>
int64_t norm_groups(const QuadtreeConv<T>& q) {
  return q.settings.groups(q.sizes.grid.batch);
}

// One round: its tiles, its place in the store, what it reads.
template <class T>
struct QuadtreeRound {
  RoundTiles tiles;
  int64_t offset;
  RoundRule<T> rule;
  TileSource<T> before, source;
  const T* weight;
  const computed_t<T>* bias;
};

// Tables of all rounds: row_of [round][tile] counts rows from the round's first, latest [round][tile] holds what the round finds
// in the store; latest has one more round, the result.
struct QuadtreeTables {
  int32_t *row_of, *latest;
};

template <class T, class Workspace, class Stream>
QuadtreeTables run_quadtree_tables(Workspace& memory, Stream stream, const QuadtreeConv<T>& q) {
  const int64_t rounds = (int64_t)q.rows.size(), tiles = tile_total(q);
  const QuadtreeTables t{memory.template get<int32_t>(rounds * tiles), memory.template get<int32_t>((rounds + 1) * tiles)};
  memory.fill(t.latest, 0xff, tiles * (int64_t)sizeof(int32_t));
  int64_t offset = 0;
  for (int64_t r = 0; r < rounds; ++r) {
    int32_t *row_of = t.row_of + r * tiles, *before = t.latest + r * tiles;
    run_number_rows(memory, stream, q.sizes.grid, q.index + r * q.width, q.rows[r] < q.width ? q.rows[r] : q.width, row_of);
    MS_LAUNCH((latest_rows_kernel), dim3(blocks_for(tiles)), dim3(kThreads), stream, row_of, before, tiles, (int32_t)offset,
              before + tiles);
    offset += q.rows[r];
  }
  return t;
}

template <class T>
QuadtreeRound<T> quadtree_round(const QuadtreeConv<T>& q, const QuadtreeState<T>& s, const QuadtreeTables& t, int64_t r,
                                const T* packed) {
  QuadtreeRound<T> round{};
  const int64_t channels = q.sizes.in;
  for (int64_t i = 0; i < r; ++i) round.offset += q.rows[i];
  round.tiles = {q.sizes.grid, q.index + r * q.width, q.rows[r] < q.width ? q.rows[r] : q.width, channels};
  const auto of_round = [&](const computed_t<T>* p, int64_t size) { return p == nullptr ? p : p + r * size; };
  round.rule = {q.settings.mode != kReplace, (int32_t)q.settings.activation, (computed_t<T>)q.settings.slope, of_round(q.scale, channels), of_round(q.shift, channels),
                of_round(s.stats, norm_groups(q) * 2 * channels), norm_groups(q)};
  round.before = {q.x, false, s.store, t.latest + r * tile_total(q)};
  round.source = q.settings.mode == kParallel ? TileSource<T>{q.x, false, nullptr, nullptr} : round.before;
  const WeightShape one{1, channels, channels, tap_count(q.sizes)};
  round.weight = packed + r * packed_weight_count<T>(one);
  round.bias = of_round(q.bias, channels);
  return round;
}

template <class T, class Workspace, class Stream>
const T* run_pack_rounds(Workspace& memory, Stream stream, const QuadtreeConv<T>& q, bool transposed) {
  const WeightShape shape{(int64_t)q.rows.size(), q.sizes.out, q.sizes.in, tap_count(q.sizes)};
  T* packed = memory.template get<T>(packed_weight_count<T>(shape));
  run_pack_weight<T>(stream, q.weight, shape, transposed, packed);
  return packed;
}

// Sums of a round into stats (means, deviations) or shares and totals (gradients).
template <class T, class Workspace, class Stream>
void run_round_sums(Workspace& memory, Stream stream, const QuadtreeRound<T>& round, RoundSum kind, const T* values, const T* raw,
                    double eps, computed_t<T>* shares, computed_t<T>* totals) {
  using A = computed_t<T>;
  const RoundTiles tiles = round.tiles;
  const RoundRule<T> rule = round.rule;
  const int64_t groups = rule.groups, length = divided_up(tiles.rows, 128), channels = tiles.channels;
  const int64_t chunks = tiles.rows == 0 ? 0 : divided_up(tiles.rows, length);
  A* parts = memory.template get<A>(chunks * groups * 2 * channels);
  int64_t* counts = memory.template get<int64_t>(chunks * groups);
  if (chunks > 0)
    MS_LAUNCH((round_sums_kernel<T>), dim3((unsigned)divided_up(channels, 32), (unsigned)chunks, (unsigned)groups), dim3(256),
              stream, tiles, rule, kind, values, raw, length, parts, counts);
  MS_LAUNCH((merge_round_sums_kernel<A>), dim3(blocks_for(groups * channels)), dim3(kThreads), stream, parts, counts, chunks,
            groups, channels, kind, (A)eps, shares, totals);
}

// The convolution of a round's tiles (or of other tiles, by the same kernel) into rows; `end`: with the activation.
template <class T, class Stream>
void run_round_conv(Stream stream, const QuadtreeConv<T>& q, const QuadtreeRound<T>& round, const RoundTiles& tiles, bool end, T* rows) {
  const ConvEnd<T> finish{round.bias, end ? round.rule.activation : (int32_t)kNoActivation, round.rule.slope};
  run_tile_conv<T>(stream, q.sizes, false, {tiles.index, tiles.rows, round.source, round.weight,
                                            row_view(rows, q.sizes.grid.tile, q.sizes.in), nullptr, finish});
}

template <class T, class Stream>
void run_finish_rows(Stream stream, const QuadtreeRound<T>& round, const RoundTiles& which, const T* raw, T* out, uint8_t* signs) {
  if (which.rows == 0) return;
  const RoundTiles tiles = which;
  const RoundRule<T> rule = round.rule;
  const TileSource<T> before = round.before;
  MS_LAUNCH((finish_rows_kernel<T>), dim3((unsigned)tiles.rows), dim3(256), stream, tiles, rule, before, raw, out, signs);
}

// Store, pre, signs and stats are written as a whole; rows without a tile are 0.
template <class T, class Workspace, class Stream>
void run_quadtree_conv(Workspace& memory, Stream stream, const QuadtreeConv<T>& q, const QuadtreeState<T>& s, const TileView<T>& out) {
  const QuadtreeTables tables = run_quadtree_tables(memory, stream, q);
  const T* packed = run_pack_rounds(memory, stream, q, false);
  const int64_t entries = row_entries(q), bytes = (entries + 7) / 8;
  for (int64_t r = 0; r < (int64_t)q.rows.size(); ++r) {
    auto scratch = memory.fresh();
    const QuadtreeRound<T> round = quadtree_round(q, s, tables, r, packed);
    T *rows = s.store + round.offset * entries, *raw = s.pre == nullptr ? rows : s.pre + round.offset * entries;
    uint8_t* signs = s.signs == nullptr ? nullptr : s.signs + round.offset * bytes;
    const bool at_once = q.settings.norm == kNoNorm && q.settings.mode == kReplace;
    run_round_conv(stream, q, round, round.tiles, at_once, raw);
    if (q.settings.norm != kNoNorm) {
      computed_t<T>* stats = s.stats + r * norm_groups(q) * 2 * q.sizes.in;
      run_round_sums<T>(scratch, stream, round, kMeans, raw, raw, q.settings.eps, stats, nullptr);
      run_round_sums<T>(scratch, stream, round, kDeviations, raw, raw, q.settings.eps, stats, nullptr);
    }
    if (!at_once) run_finish_rows<T>(stream, round, round.tiles, raw, rows, signs);
    const int64_t used = round.tiles.rows, spare = q.rows[r] - used;  // rows beyond the end of the list
    if (spare > 0) memory.fill(rows + used * entries, 0, spare * entries * (int64_t)sizeof(T));
    if (spare > 0 && s.pre != nullptr) memory.fill(raw + used * entries, 0, spare * entries * (int64_t)sizeof(T));
    if (spare > 0 && signs != nullptr) memory.fill(signs + used * bytes, 0, spare * bytes);
  }
  const TileSource<T> result{q.x, false, s.store, tables.latest + (int64_t)q.rows.size() * tile_total(q)};
  const BlockGrid g = q.sizes.grid;
  const int64_t channels = q.sizes.in;
  const TileView<T> to = out;
  MS_LAUNCH((compose_map_kernel<T>), dim3((unsigned)tile_total(q)), dim3(256), stream, g, result, channels, to);
}

// Gradients that the backward pass writes; null: not wanted. dnorm [rounds][dshift, dscale][channels].
template <class T>
struct QuadtreeGradients {
  bool x;
  computed_t<T>*weight, *bias, *norm, *gate;
};

// dgate of a round's tiles, and of the explored ones, which are computed here for the first time.
template <class T, class Workspace, class Stream>
void run_gate_gradient(Workspace& memory, Stream stream, const QuadtreeConv<T>& q, const QuadtreeRound<T>& round, int64_t r,
                       const TileView<computed_t<T>>& map_in, const T* rows, computed_t<T>* dgate) {
  const TileSource<T> before = round.before;
  const TileView<computed_t<T>> map = map_in;
  const RoundTiles active = round.tiles;
  if (active.rows > 0)
    MS_LAUNCH((gate_gradient_kernel<T>), dim3((unsigned)active.rows), dim3(256), stream, active, map, before, rows, dgate);
  const RoundTiles explored{active.grid, q.explore + r * q.explore_width, q.explore_width, active.channels};
  if (explored.rows == 0) return;
  T* tried = memory.template get<T>(explored.rows * row_entries(q));
  const bool at_once = q.settings.norm == kNoNorm && q.settings.mode == kReplace;
  run_round_conv(stream, q, round, explored, at_once, tried);
  if (!at_once) run_finish_rows<T>(stream, round, explored, tried, tried, nullptr);
  MS_LAUNCH((gate_gradient_kernel<T>), dim3((unsigned)explored.rows), dim3(256), stream, explored, map, before, tried, dgate);
}

// Gradient of the convolution's rows of a round; writes dshift and dscale.
template <class T, class Workspace, class Stream>
T* run_row_gradient(Workspace& memory, Stream stream, const QuadtreeConv<T>& q, const QuadtreeState<T>& s, const QuadtreeRound<T>& round,
                    const TileView<computed_t<T>>& map_in, computed_t<T>* dnorm) {
  using A = computed_t<T>;
  const RoundTiles tiles = round.tiles;
  const RoundRule<T> rule = round.rule;
  const TileView<A> map = map_in;
  const int64_t entries = row_entries(q), channels = tiles.channels, groups = rule.groups;
  T* g = memory.template get<T>(tiles.rows * entries);
  const T *raw = s.pre == nullptr ? nullptr : s.pre + round.offset * entries, *values = s.store + round.offset * entries;
  const uint8_t* signs = s.signs == nullptr ? nullptr : s.signs + round.offset * ((entries + 7) / 8);
  const bool clear = q.settings.mode == kReplace;
  if (tiles.rows > 0)
    MS_LAUNCH((gather_rows_kernel<T>), dim3((unsigned)tiles.rows), dim3(256), stream, tiles, rule, map, raw, signs, values, clear, g);
  if (q.settings.norm == kNoNorm) return g;
  A *shares = memory.template get<A>(groups * 2 * channels), *totals = memory.template get<A>(groups * 2 * channels);
  run_round_sums<T>(memory, stream, round, kGradients, g, raw, q.settings.eps, shares, totals);
  if (dnorm != nullptr)
    MS_LAUNCH((sum_splits_kernel<A>), dim3(blocks_for(2 * channels)), dim3(kThreads), stream, totals, groups, 2 * channels, dnorm);
  if (tiles.rows > 0)
    MS_LAUNCH((norm_gradient_kernel<T>), dim3((unsigned)tiles.rows), dim3(256), stream, tiles, rule, raw, shares, g);
  return g;
}

// read: the gradient at the result, worked on in place; write: where the gradient of x grows, starting as a copy of it. Both
// are one map except in parallel mode.
template <class T, class Workspace, class Stream>
void run_quadtree_conv_backward(Workspace& memory, Stream stream, const QuadtreeConv<T>& q, const QuadtreeState<T>& s,
                                const TileView<computed_t<T>>& read, const TileView<computed_t<T>>& write,
                                const QuadtreeGradients<T>& d) {
  using A = computed_t<T>;
  const QuadtreeTables tables = run_quadtree_tables(memory, stream, q);
  const T *packed = run_pack_rounds(memory, stream, q, false), *transposed = run_pack_rounds(memory, stream, q, true);
  const int64_t rounds = (int64_t)q.rows.size(), tiles = tile_total(q), channels = q.sizes.in;
  const int64_t weights = channels * channels * tap_count(q.sizes);
  if (d.gate != nullptr) memory.fill(d.gate, 0, rounds * tiles * (int64_t)sizeof(A));
  for (int64_t r = rounds - 1; r >= 0; --r) {
    auto scratch = memory.fresh();
    const QuadtreeRound<T> round = quadtree_round(q, s, tables, r, packed);
    if (d.gate != nullptr)
      run_gate_gradient<T>(scratch, stream, q, round, r, read, s.store + round.offset * row_entries(q), d.gate + r * tiles);
    const T* g = run_row_gradient<T>(scratch, stream, q, s, round, read, d.norm == nullptr ? nullptr : d.norm + r * 2 * channels);
    const TileView<T> rows = row_view(const_cast<T*>(g), q.sizes.grid.tile, channels);
    const TileSource<T> gradient{{rows.data, {rows.stride[0], 1, rows.stride[2], rows.stride[3], rows.stride[4]}, true}, true, nullptr, nullptr};
    const int32_t* index = round.tiles.index;
    const int64_t count = round.tiles.rows;
    if (d.weight != nullptr)
      run_weight_gradient<T>(scratch, stream, q.sizes, index, count, round.source, gradient, d.weight + r * weights);
    if (d.bias != nullptr)
      run_channel_sums<T>(scratch, stream, q.sizes.grid, index, count, gradient, channels, d.bias + r * channels);
    const bool needed = q.settings.mode == kParallel ? d.x : d.x || r > 0;
    if (!needed || count == 0) continue;
    const T* weight = transposed + (round.weight - packed);
    run_input_gradient<T, A>(scratch, stream, q.sizes, index, count, tables.row_of + r * tiles, gradient, weight, true, write);
  }
}

}  // namespace medseg
