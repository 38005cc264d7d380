// Sweeps of a geodesic distance map: padded copies of one volume, relaxed plane after plane along every axis.
#pragma once
#include <algorithm>
#include <atomic>
#include <limits>

#include "../common/geodesic_inputs.h"
#include "geodesic_rows.h"

namespace medseg::cpu {

// A row of `n` voxels is followed by one voxel that is never written.
inline int64_t padded_voxels(int64_t lines, int64_t n) { return 1 + lines * (n + 1); }

// Smallest number of rows for one thread.
inline int64_t row_grain(int64_t n) { return std::max<int64_t>(1, 8192 / n); }

template <class T>
class GeodesicSweep {
 public:
  GeodesicSweep(const GeodesicChoice& choice, const GeodesicTable<T>& table, const Tensor& like)
      : c_(choice), table_(table), z_(c_.size[0]), y_(c_.size[1]), x_(c_.size[2]), straight_(padded_voxels(z_ * y_, x_)),
        turned_(padded_voxels(x_ * z_, y_)), buffer_(torch::stable::new_empty(like, {(c_.channels + 1) * (straight_ + turned_)})) {
    distance_ = buffer_.mutable_data_ptr<T>();
    turned_distance_ = distance_ + straight_;
    image_ = turned_distance_ + turned_;
    turned_image_ = image_ + c_.channels * straight_;
    clear_padding();
  }

  // channel: distance between the channels of the image, whose volumes are contiguous.
  void set_image(const T* image, int64_t channel) {
    for (int64_t c = 0; c < c_.channels; ++c) {
      T* to = image_ + c * straight_;
      const T* from = image + c * channel;
      over_lines([&](int64_t line) { std::copy_n(from + line * x_, x_, to + 1 + line * (x_ + 1)); });
      turn(to, turned_image_ + c * turned_, false);
    }
  }

  void run(const bool* seeds, T* out) {
    const T far = (T)c_.limit;
    over_lines([&](int64_t line) {
      T* row = distance_ + 1 + line * (x_ + 1);
      for (int64_t x = 0; x < x_; ++x) row[x] = seeds[line * x_ + x] ? 0 : far;
    });
    const GeodesicGrid along_z{z_, y_ * (x_ + 1), y_, x_ + 1, x_, {0, 1, 2}};
    const GeodesicGrid along_y{y_, x_ + 1, z_, y_ * (x_ + 1), x_, {1, 0, 2}};
    const GeodesicGrid along_x{x_, z_ * (y_ + 1), z_, y_ + 1, y_, {2, 0, 1}};
    for (int64_t done = 0; c_.sweeps == 0 || done < c_.sweeps; ++done) {
      bool changed = sweep(along_z, image_, straight_, distance_);
      changed |= sweep(along_y, image_, straight_, distance_);
      turn(distance_, turned_distance_, false);
      const bool last = sweep(along_x, turned_image_, turned_, turned_distance_);
      if (last) turn(distance_, turned_distance_, true);
      if (!changed && !last) break;  // later sweeps would not change anything
    }
    over_lines([&](int64_t line) { std::copy_n(distance_ + 1 + line * (x_ + 1), x_, out + line * x_); });
  }

 private:
  template <class F>
  void over_lines(const F& f) {
    torch::stable::parallel_for(0, z_ * y_, row_grain(x_), [&](int64_t begin, int64_t end) {
      for (int64_t line = begin; line < end; ++line) f(line);
    });
  }

  void clear_padding() {
    for (int64_t c = 0; c <= c_.channels; ++c) {
      const T value = c == 0 ? std::numeric_limits<T>::infinity() : 0;
      T* straight = c == 0 ? distance_ : image_ + (c - 1) * straight_;
      T* turned = c == 0 ? turned_distance_ : turned_image_ + (c - 1) * turned_;
      for (int64_t i = 0; i < straight_; i += x_ + 1) straight[i] = value;
      for (int64_t i = 0; i < turned_; i += y_ + 1) turned[i] = value;
    }
  }

  // Between [z][y][x] and [x][z][y], or back.
  void turn(T* straight, T* turned, bool back) {
    constexpr int64_t kBlock = 16;
    const int64_t blocks = (y_ + kBlock - 1) / kBlock;
    torch::stable::parallel_for(0, z_ * blocks, row_grain(kBlock * x_), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t z = i / blocks, y0 = i % blocks * kBlock, y1 = std::min(y0 + kBlock, y_);
        for (int64_t x0 = 0; x0 < x_; x0 += kBlock) {
          for (int64_t x = x0; x < std::min(x0 + kBlock, x_); ++x) {
            T* column = turned + 1 + (x * z_ + z) * (y_ + 1);
            T* plane = straight + 1 + z * y_ * (x_ + 1) + x;
            if (back)
              for (int64_t y = y0; y < y1; ++y) plane[y * (x_ + 1)] = column[y];
            else
              for (int64_t y = y0; y < y1; ++y) column[y] = plane[y * (x_ + 1)];
          }
        }
      }
    });
  }

  // Forwards, then backwards, over the planes. Returns whether any distance became smaller.
  bool sweep(const GeodesicGrid& g, const T* image, int64_t channel, T* distance) {
    T step[9];
    geodesic_steps(c_, g, step);
    std::atomic<bool> changed{false};
    for (const int64_t way : {1, -1})
      for (int64_t done = 1; done < g.planes; ++done) {
        const int64_t at = way > 0 ? done : g.planes - 1 - done;
        torch::stable::parallel_for(0, g.rows, row_grain(g.n), [&](int64_t begin, int64_t end) {
          bool fell = false;
          for (int64_t r = begin; r < end; ++r) fell |= relax(g, image, channel, distance, step, at, at - way, r);
          if (fell) changed.store(true, std::memory_order_relaxed);
        });
      }
    return changed;
  }

  bool relax(const GeodesicGrid& g, const T* image, int64_t channel, T* distance, const T* step, int64_t at, int64_t before,
             int64_t row) {
    const int64_t here = 1 + at * g.plane + row * g.row;
    GeodesicRow<T> r{{}, {}, image + here, distance + here, step, g.n, c_.channels, channel, (T)c_.weight, c_.harmonic};
    for (int64_t k = 0; k < 3; ++k) {
      const int64_t other = row + k - 1, from = 1 + before * g.plane + other * g.row;
      if (other < 0 || other >= g.rows) continue;
      r.distance[k] = distance + from;
      r.image[k] = image + from;
    }
    return table_.relax(r);
  }

  const GeodesicChoice& c_;
  const GeodesicTable<T>& table_;
  const int64_t z_, y_, x_, straight_, turned_;  // sizes, and voxels of the padded volumes
  Tensor buffer_;
  T *distance_, *turned_distance_, *image_, *turned_image_;
};

}  // namespace medseg::cpu
