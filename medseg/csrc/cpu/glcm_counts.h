// Counts of the grey-level pairs of a window that slides along a row: sum of squares, entropy and largest entry of the
// symmetric co-occurrence matrix, updated pair by pair, so that the cost does not depend on the number of levels.
#pragma once
#include <cmath>

#include "glcm_sums.h"

namespace medseg::cpu {

// c ln c in fixed point, for the changes of a count.
struct EntropyTable {
  std::vector<int64_t> change[2];  // [diagonal][count before]: change of the matrix's sum of c ln c
  std::vector<double> logarithm;

  explicit EntropyTable(int64_t pairs) : logarithm(2 * pairs + 1) {
    for (int64_t i = 1; i <= 2 * pairs; ++i) logarithm[i] = std::log((double)i);
    const auto term = [&](int64_t c) { return c > 0 ? (double)c * logarithm[c] : 0.0; };
    const auto fixed = [&](double v) { return (int64_t)std::llround(v * kEntropyUnit); };
    for (int64_t c = 0; c < pairs; ++c) {
      change[0].push_back(fixed(2 * term(c + 1)) - fixed(2 * term(c)));    // two equal entries, (i, j) and (j, i)
      change[1].push_back(fixed(term(2 * c + 2)) - fixed(term(2 * c)));    // one entry on the diagonal, counted twice
    }
  }
};

// An unordered pair of levels as 2 * cell + (1 on the diagonal), or -1.
inline int32_t pair_code(int16_t a, int16_t b, int32_t levels) {
  if (a < 0 || b < 0) return -1;
  const int32_t low = std::min(a, b), high = std::max(a, b);
  return 2 * (low * levels + high) + (low == high);
}

class PairCounter {
 public:
  PairCounter(int64_t levels, int64_t pairs, const EntropyTable& table, bool largest)
      : counts_(levels * levels), entries_(largest ? 2 * pairs + 1 : 0), table_(table), track_(largest) {}

  void add(const int32_t* codes, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      const int32_t code = codes[i];
      if (code < 0) continue;
      const int diagonal = code & 1;
      const int64_t before = counts_[code >> 1]++;
      square_ += (2 * before + 1) * (2 + 2 * diagonal);
      entropy_ += table_.change[diagonal][before];
      ++pairs_;
      if (track_) raise(before << diagonal, (before + 1) << diagonal);
    }
  }

  void remove(const int32_t* codes, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      const int32_t code = codes[i];
      if (code < 0) continue;
      const int diagonal = code & 1;
      const int64_t after = --counts_[code >> 1];
      square_ -= (2 * after + 1) * (2 + 2 * diagonal);
      entropy_ -= table_.change[diagonal][after];
      --pairs_;
      if (track_) lower((after + 1) << diagonal, after << diagonal);
    }
  }

  int64_t pairs() const { return pairs_; }
  // Of the matrix divided by its sum; 0 without pairs.
  double second_moment() const { return pairs_ ? (double)square_ / ((double)total() * (double)total()) : 0.0; }
  double entropy() const {
    return pairs_ ? std::max(0.0, table_.logarithm[total()] - (double)entropy_ / kEntropyUnit / (double)total()) : 0.0;
  }
  double largest() const { return pairs_ ? (double)largest_ / (double)total() : 0.0; }

 private:
  int64_t total() const { return 2 * pairs_; }

  void raise(int64_t from, int64_t to) {
    if (from) --entries_[from];
    ++entries_[to];
    largest_ = std::max(largest_, to);
  }

  void lower(int64_t from, int64_t to) {
    --entries_[from];
    if (to) ++entries_[to];
    while (largest_ > 0 && entries_[largest_] == 0) --largest_;
  }

  std::vector<uint16_t> counts_;
  std::vector<int32_t> entries_;  // how many cells have each value
  const EntropyTable& table_;
  bool track_;
  int64_t square_ = 0, entropy_ = 0, pairs_ = 0, largest_ = 0;
};

// Codes of all pairs in the windows of a strip, column by column, so that a column of a window is one stretch of memory.
struct PairCodes {
  int64_t top, rows, front, slices;
  std::vector<int32_t> code;

  PairCodes(const TextureShape& s, const LevelMap& m, const PairRows& p, const Strip& strip, int64_t levels)
      : top(std::max<int64_t>(0, strip.first + p.rows.low)),
        rows(std::max<int64_t>(0, std::min(s.size[1] - 1, strip.last - 1 + p.rows.high) - top + 1)),
        front(std::max<int64_t>(0, strip.z + p.deep.low)),
        slices(std::max<int64_t>(0, std::min(s.size[0] - 1, strip.z + p.deep.high) - front + 1)),
        code(slices * rows * s.size[2], -1) {
    for (int64_t z = 0; z < slices; ++z)
      for (int64_t y = 0; y < rows; ++y) {
        const int64_t second = p.second_row(s, front + z, top + y);
        if (second < 0) continue;
        const int16_t* a = m.level.data() + ((front + z) * s.size[1] + top + y) * s.size[2];
        const int16_t* b = m.level.data() + second * s.size[2] + p.offset.step[2];
        for (int64_t x = p.first; x < p.last; ++x)
          code[(x * slices + z) * rows + y] = pair_code(a[x], b[x], (int32_t)levels);
      }
  }
};

// Calls each(y, x, counter) for every voxel of the strip.
template <class Each>
void count_pairs(const TextureShape& s, const PairRows& p, const Strip& strip, const PairCodes& codes, PairCounter& counter,
                 const Each& each) {
  const Span across = pair_span(s.radius[2], p.offset.step[2]);
  for (int64_t y = strip.first; y < strip.last; ++y) {
    const int64_t top = std::max(codes.top, y + p.rows.low), bottom = std::min(codes.top + codes.rows - 1, y + p.rows.high);
    const int64_t run = std::max<int64_t>(0, bottom - top + 1);
    const auto column = [&](int64_t x, bool enters) {
      if (run == 0 || x < 0 || x >= s.size[2]) return;
      for (int64_t z = 0; z < codes.slices; ++z) {
        const int32_t* at = codes.code.data() + (x * codes.slices + z) * codes.rows + (top - codes.top);
        enters ? counter.add(at, run) : counter.remove(at, run);
      }
    };
    for (int64_t x = across.low; x < across.high; ++x) column(x, true);
    for (int64_t x = 0; x < s.size[2]; ++x) {
      column(x + across.high, true);
      each(y, x, counter);
      column(x + across.low, false);
    }
    for (int64_t x = s.size[2] + across.low; x < s.size[2] + across.high; ++x) column(x, false);
  }
}

}  // namespace medseg::cpu
