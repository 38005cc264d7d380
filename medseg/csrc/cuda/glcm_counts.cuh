// Kernels of the counted features of local_glcm. A warp moves along a part of a row. Pairs that enter and leave the window change
// the counters of pairs of levels, and each change of a counter changes the sum of squares and the entropy. All sums are whole
// numbers, so they do not depend on the order in which lanes reach a counter.
#pragma once
#include "local_glcm.cuh"

namespace medseg {

// Voxels of a row that a warp takes; a multiple of the 32 that it writes at once.
constexpr int64_t kCountedRun = 64;

// Unordered pairs of levels, and words that hold their counters, two of 16 bits each: a window has less than 2^15 pairs.
inline int64_t counter_words(int64_t levels) { return (levels * (levels + 1) / 2 + 1) / 2; }

// Places of the counted features among the maps of one offset, -1 for those that are not chosen; first, stride: as in
// LinearPlaces.
struct CountedPlaces {
  int64_t moment, energy, entropy, largest, first, stride;
};

// changes [2, pairs]: how much the matrix's sum of c ln c grows with the next pair in a cell that has held `pairs` of them, off
// the diagonal (two equal entries) and on it (one entry, counted twice), in units of 1 / kEntropyUnit.
__global__ void __launch_bounds__(256) glcm_entropy_kernel(int64_t pairs, int64_t* changes) {
  const auto fixed = [](double times, double c) { return (int64_t)llround(c > 0 ? times * (c * log(c)) * kEntropyUnit : 0.0); };
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < 2 * pairs; i += (int64_t)gridDim.x * blockDim.x) {
    const double c = (double)(i % pairs);
    changes[i] = i < pairs ? fixed(2, c + 1) - fixed(2, c) : fixed(1, 2 * c + 2) - fixed(1, 2 * c);
  }
}

// The pair whose first voxel is i: 2 * number of the unordered pair of levels + (1 on the diagonal), or -1.
template <class T>
__global__ void __launch_bounds__(256) glcm_codes_kernel(GreyMaps<T> grey, PairBox p, int32_t* codes) {
  const TextureBox& box = p.window;
  const int64_t width = box.size[2], values = box.planes * box.plane();
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < values; i += (int64_t)gridDim.x * blockDim.x) {
    const int64_t x = i % width, y = i / width % box.size[1], z = i / (width * box.size[1]) % box.size[0];
    int32_t code = -1;
    if (p.holds(z, y, x, 1)) {
      const int a = grey.level(i), b = grey.level(i + p.jump), low = a < b ? a : b, high = a < b ? b : a;
      if (low >= 0) code = 2 * (low * (int)grey.levels - low * (low - 1) / 2 + high - low) + (low == high);
    }
    codes[i] = code;
  }
}

template <class V>
__device__ __forceinline__ V warp_total(V value) {
  for (int bits = 16; bits > 0; bits /= 2) value += __shfl_xor_sync(0xffffffffu, value, bits);
  return value;
}

// The changes that a lane made to the counters; the totals of the warp are those of the matrix.
struct PairTotals {
  int64_t square, entropy;  // sum of squared entries; sum of c ln c in units of 1 / kEntropyUnit
  int pairs, largest;
};

// The part of the pairs that a window of one row sees: `rows` rows from `top` in each of `slices` slices from `front`.
struct PairRun {
  const int32_t* codes;  // of the map
  const int64_t* changes;
  int64_t pairs, height, width, front, slices, top, rows;
  uint32_t* counters;

  __device__ __forceinline__ int32_t code(int64_t j, int64_t x) const {
    return codes[((front + j / rows) * height + top + j % rows) * width + x];
  }

  // Lets the pairs of column x enter (or leave) the counters.
  __device__ __forceinline__ void column(int64_t x, bool enters, PairTotals& t) const {
    if (x < 0 || x >= width) return;
#pragma unroll 1
    for (int64_t j = threadIdx.x; j < slices * rows; j += 32) {
      const int32_t found = code(j, x);
      if (found < 0) continue;
      const int diagonal = found & 1, shift = (found >> 1 & 1) * 16;
      uint32_t* word = counters + (found >> 2);
      const uint32_t one = 1u << shift, held = enters ? atomicAdd(word, one) : atomicSub(word, one) - one;
      const int64_t below = held >> shift & 0xffffu;  // the smaller of the counts before and after
      const int64_t sign = enters ? 1 : -1;
      t.square += sign * (2 * below + 1) * (2 + 2 * diagonal);
      t.entropy += sign * changes[diagonal * pairs + below];
      t.pairs += (int)sign;
    }
  }

  // Largest entry of the matrix, over the pairs of the columns [low, high]; the lanes of the warp come together first and last.
  __device__ __forceinline__ int largest(int64_t low, int64_t high) const {
    low = low < 0 ? 0 : low;
    high = high >= width ? width - 1 : high;
    __syncwarp();
    int most = 0;
    for (int64_t x = low; x <= high; ++x)
#pragma unroll 1
      for (int64_t j = threadIdx.x; j < slices * rows; j += 32) {
        const int32_t found = code(j, x);
        if (found < 0) continue;
        const int entry = (int)(counters[found >> 2] >> (found >> 1 & 1) * 16 & 0xffffu) << (found & 1);
        most = entry > most ? entry : most;
      }
    for (int bits = 16; bits > 0; bits /= 2) {
      const int other = __shfl_xor_sync(0xffffffffu, most, bits);
      most = other > most ? other : most;
    }
    __syncwarp();
    return most;
  }
};

// Adds the features of one window to the maps; to: its voxel in the first map of the offset.
template <class T>
__device__ __forceinline__ void add_counted(const PairTotals& t, const CountedPlaces& places, int64_t plane, T* to) {
  if (t.pairs == 0) return;
  const double total = 2.0 * t.pairs, moment = (double)t.square / (total * total);
  if (places.moment >= 0) to[places.moment * plane] += (T)moment;
  if (places.energy >= 0) to[places.energy * plane] += (T)sqrt(moment);
  if (places.entropy >= 0) {
    const double entropy = log(total) - (double)t.entropy / kEntropyUnit / total;
    to[places.entropy * plane] += (T)(entropy > 0 ? entropy : 0.0);
  }
  if (places.largest >= 0) to[places.largest * plane] += (T)((double)t.largest / total);
}

// Blocks of one warp. The counters lie in dynamic shared memory, or, where they do not fit, in scratch [gridDim.x, words]. seen:
// null, or counts the offsets that have a pair in the window.
template <class T>
__global__ void __launch_bounds__(32) glcm_counts_kernel(const int32_t* codes, TextureBox box, const int64_t* changes, int64_t pairs,
                                                         int64_t words, uint32_t* scratch, CountedPlaces places, T* out,
                                                         int32_t* seen) {
  MS_DYNAMIC_SHARED(memory);
  uint32_t* counters = scratch == nullptr ? reinterpret_cast<uint32_t*>(memory) : scratch + blockIdx.x * words;
  for (int64_t i = threadIdx.x; i < words; i += 32) counters[i] = 0;
  __syncwarp();
  const int64_t plane = box.plane(), width = box.size[2], runs = (width + kCountedRun - 1) / kCountedRun;
  for (int64_t i = blockIdx.x; i < box.planes * box.size[0] * box.size[1] * runs; i += gridDim.x) {
    const int64_t y = i / runs % box.size[1], z = i / (runs * box.size[1]) % box.size[0], map = i / (runs * box.size[1] * box.size[0]);
    const int64_t first = i % runs * kCountedRun, last = first + kCountedRun < width ? first + kCountedRun : width;
    const int64_t front = z + box.deep.low < 0 ? 0 : z + box.deep.low, top = y + box.rows.low < 0 ? 0 : y + box.rows.low;
    const int64_t back = z + box.deep.high >= box.size[0] ? box.size[0] - 1 : z + box.deep.high;
    const int64_t bottom = y + box.rows.high >= box.size[1] ? box.size[1] - 1 : y + box.rows.high;
    if (back < front || bottom < top) continue;
    const PairRun run{codes + map * plane, changes, pairs, box.size[1], width, front, back - front + 1, top, bottom - top + 1, counters};
    const int64_t low = box.across.low, high = box.across.high;
    PairTotals lane{0, 0, 0, 0}, kept{0, 0, 0, 0};
    // Before the first voxel its window is filled; after the last voxel it is emptied, so that all counters are 0 again.
    for (int64_t x = first + low - high; x < last + high - low; ++x) {
      if (x < last) run.column(x + high, true, lane);
      if (x >= first && x < last) {
        const int64_t square = warp_total(lane.square), entropy = warp_total(lane.entropy);
        const int held = warp_total(lane.pairs), most = places.largest < 0 ? 0 : run.largest(x + low, x + high);
        const int place = (int)((x - first) % 32);
        if (place == (int)threadIdx.x) kept = {square, entropy, held, most};
        if ((place == 31 || x + 1 == last) && (int)threadIdx.x <= place) {
          const int64_t at = (z * box.size[1] + y) * width + x - place + threadIdx.x;
          add_counted(kept, places, plane, out + (map * places.stride + places.first) * plane + at);
          if (seen != nullptr && kept.pairs > 0) ++seen[map * plane + at];
        }
      }
      if (x >= first) run.column(x + low, false, lane);
    }
    __syncwarp();
  }
}

}  // namespace medseg
