// Weights in the order in which the convolution kernels load them, padded by zeros:
// [round][panel of kPanel outputs][chunk of inputs][tap][input of the chunk][output of the panel].
#pragma once
#include "tile_view.cuh"

namespace medseg {

constexpr int kPanel = 32;  // output channels of one block of threads

// How many input channels are in shared memory at once; a tensor core multiplies 16.
template <class T>
struct InputChunk {
  static constexpr int value = 16;
};
template <>
struct InputChunk<float> {
  static constexpr int value = 8;
};
template <>
struct InputChunk<double> {
  static constexpr int value = 8;
};

struct WeightShape {
  int64_t rounds, out, in, taps;
};

template <class T>
int64_t packed_weight_count(const WeightShape& w) {
  const int64_t chunk = InputChunk<T>::value;
  return w.rounds * divided_up(w.out, kPanel) * divided_up(w.in, chunk) * w.taps * chunk * kPanel;
}

// weight [rounds, out, in, taps] contiguous; TRANSPOSED: [rounds, in, out, taps] with the taps in reverse, for the gradient of
// the input.
template <class T>
__global__ void __launch_bounds__(256) pack_weight_kernel(const computed_t<T>* weight, WeightShape w, bool transposed, int64_t count,
                                                          T* packed) {
  constexpr int chunk = InputChunk<T>::value;
  const int64_t chunks = (w.in + chunk - 1) / chunk, panels = (w.out + kPanel - 1) / kPanel;
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (int64_t)gridDim.x * blockDim.x) {
    const int64_t tap = i / (kPanel * chunk) % w.taps, rest = i / (kPanel * chunk * w.taps);
    const int64_t in = rest % chunks * chunk + i / kPanel % chunk, out = rest / chunks % panels * kPanel + i % kPanel;
    const int64_t round = rest / (chunks * panels);
    computed_t<T> value = 0;
    if (in < w.in && out < w.out)
      value = transposed ? weight[((round * w.in + in) * w.out + out) * w.taps + w.taps - 1 - tap]
                         : weight[((round * w.out + out) * w.in + in) * w.taps + tap];
    packed[i] = narrowed<T>(value);
  }
}

}  // namespace medseg
