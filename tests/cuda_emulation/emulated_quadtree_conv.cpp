// Test only: quadtree_conv under emulation.
#include "emulated.h"
#include "run_quadtree_conv.cuh"

namespace {

using namespace medseg;
using medseg_emulation::Memory;

// The arguments of one call, in the layout of Python. numbers: batch, size 3, tile 3, grid 3, kernel 3, channels, rounds, width,
// explore width, mode, activation, norm, signs. Absent tensors are null.
template <class T>
struct Call {
  const int64_t *numbers, *rows, *x_strides;
  double slope, eps;
  const T* x;
  const computed_t<T>*weight, *bias, *scale, *shift;
  const int32_t *index, *explore;
  T *store, *pre;
  uint8_t* signs;
  computed_t<T>* stats;

  QuadtreeConv<T> problem() const {
    const int64_t* n = numbers;
    QuadtreeConv<T> q{};
    q.sizes = {{n[0], {n[1], n[2], n[3]}, {n[4], n[5], n[6]}, {n[7], n[8], n[9]}}, {n[10], n[11], n[12]}, n[13], n[13]};
    q.index = index;
    q.explore = explore;
    q.width = n[15];
    q.explore_width = n[16];
    q.rows.assign(rows, rows + n[14]);
    q.settings = {n[17], n[18], n[19], slope, eps};
    q.x = view(x);
    q.weight = weight;
    q.bias = bias;
    q.scale = scale;
    q.shift = shift;
    return q;
  }
  template <class U>
  TileView<U> view(U* data) const {
    return {data, {x_strides[0], x_strides[1], x_strides[2], x_strides[3], x_strides[4]}, false};
  }
  QuadtreeState<T> state() const { return {store, pre, signs, stats}; }
};

template <class T>
void forward(const Call<T>& c, T* out) {
  Memory memory;
  run_quadtree_conv<T>(memory, 0, c.problem(), c.state(), c.view(out));
}

template <class T>
void backward(const Call<T>& c, computed_t<T>* read, computed_t<T>* write, computed_t<T>* dweight, computed_t<T>* dbias,
              computed_t<T>* dnorm, computed_t<T>* dgate) {
  Memory memory;
  run_quadtree_conv_backward<T>(memory, 0, c.problem(), c.state(), c.view(read), c.view(write), {true, dweight, dbias, dnorm, dgate});
}

// Two rounds on one 9 x 10 map of 3 x 2 tiles, both ways.
template <class T>
double both_ways(int64_t channels, int64_t mode, int64_t norm) {
  using A = computed_t<T>;
  const int64_t numbers[20] = {1, 1, 9, 10, 1, 3, 5, 1, 3, 2, 1, 3, 3, channels, 2, 3, 1, mode, kLeakyRelu, norm};
  const int64_t rows[2] = {3, 2}, strides[5] = {90 * channels, 90, 90, 10, 1};
  const int32_t index[6] = {0, 3, 5, 3, 0, -1}, explore[2] = {1, 5};
  const int64_t entries = 15 * channels;
  const std::vector<A> values = medseg_emulation::waves<A>(90 * channels), weight = medseg_emulation::waves<A>(2 * channels * channels * 9);
  const std::vector<A> bias = medseg_emulation::waves<A>(2 * channels, 0.7f);
  std::vector<T> x(values.size()), store(5 * entries), pre(5 * entries), out(x.size());
  for (size_t i = 0; i < x.size(); ++i) x[i] = narrowed<T>(values[i]);
  std::vector<uint8_t> signs(5 * ((entries + 7) / 8));
  std::vector<A> stats(4 * channels), dweight(weight.size()), dbias(2 * channels), dnorm(4 * channels), dgate(12), read = values, write = values;
  const Call<T> call{numbers, rows, strides, 0.1, 1e-5, x.data(), weight.data(), bias.data(), norm ? bias.data() : nullptr,
                     norm ? bias.data() : nullptr, index, explore, store.data(), norm ? pre.data() : nullptr,
                     norm == kNoNorm && mode != kReplace ? signs.data() : nullptr, norm ? stats.data() : nullptr};
  forward(call, out.data());
  A* target = mode == kParallel ? write.data() : read.data();
  backward(call, read.data(), target, dweight.data(), dbias.data(), norm ? dnorm.data() : nullptr, dgate.data());
  double sum = medseg_emulation::sum_of(dweight) + medseg_emulation::sum_of(dbias) + medseg_emulation::sum_of(dgate);
  for (const T& v : out) sum += widened(v);
  return sum + medseg_emulation::sum_of(read) + medseg_emulation::sum_of(write);
}

}  // namespace

#define DEFINE_FOR(T, SUFFIX)                                                                                                      \
  API void emu_quadtree_conv_##SUFFIX(const Call<T>* call, T* out) { forward(*call, out); }                                        \
  API void emu_quadtree_conv_backward_##SUFFIX(const Call<T>* call, computed_t<T>* read, computed_t<T>* write,                     \
                                               computed_t<T>* dweight, computed_t<T>* dbias, computed_t<T>* dnorm,                 \
                                               computed_t<T>* dgate) {                                                             \
    backward(*call, read, write, dweight, dbias, dnorm, dgate);                                                                    \
  }

DEFINE_FOR(float, f32)
DEFINE_FOR(double, f64)
DEFINE_FOR(__nv_bfloat16, bf16)

MS_SANITIZER_CASE(quadtree_conv) { return both_ways<float>(3, kReplace, kNoNorm) + both_ways<float>(2, kSum, kBatchNorm); }

MS_SANITIZER_CASE(quadtree_conv_on_tensor_cores) { return both_ways<__nv_bfloat16>(3, kParallel, kNoNorm); }
