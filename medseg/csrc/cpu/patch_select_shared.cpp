// medseg::patch_select_shared on the CPU: one score per patch, the best M patches in raster order.
//
// No array of N * M entries: a slot's gradient enters only through the sum of all gradient patches (formulas:
// medseg/ops/patch_select_shared.py).
#include <cmath>

#include "../common/better_score.h"
#include "../common/last_backend.h"
#include "patch_copy.h"
#include "patch_products.h"

namespace medseg::cpu {
namespace {

// The m best of n scores, ascending by patch number.
template <class T>
void best_patches(const T* score, int64_t n, int64_t m, std::vector<int32_t>& order, int32_t* index) {
  for (int64_t k = 0; k < n; ++k) order[k] = (int32_t)k;
  std::nth_element(order.begin(), order.begin() + m, order.end(),
                   [&](int32_t a, int32_t b) { return better_score(score[a], a, score[b], b); });
  std::copy(order.begin(), order.begin() + m, index);
  std::sort(index, index + m);
}

template <class T>
void select(const Tensor& scores, const SharedShape& s, Tensor& index) {
  const T* score = scores.const_data_ptr<T>();
  int32_t* out = index.mutable_data_ptr<int32_t>();
  torch::stable::parallel_for(0, s.batch, grain(s.patches * 8), [&](int64_t begin, int64_t end) {
    std::vector<int32_t> order(s.patches);
    for (int64_t b = begin; b < end; ++b)
      best_patches(score + b * s.patches, s.patches, s.slots, order, out + b * s.slots);
  });
}

TensorPair patch_select_shared(const Tensor& x, const Tensor& scores_in, int64_t patch, int64_t /*surrogate*/,
                               double /*slope*/, double /*tau*/, bool /*max_grad*/) {
  const char* op = "patch_select_shared";
  const SharedShape s = check_patch_select_shared(op, x, scores_in, patch);
  const Tensor scores = torch::stable::contiguous(scores_in);
  Tensor index = torch::stable::new_empty(scores, {s.batch, s.slots}, ScalarType::Int);
  if (scores.scalar_type() == ScalarType::Double) select<double>(scores, s, index);
  else select<float>(scores, s, index);
  Tensor out = torch::stable::new_empty(x, halved_shape(x));
  gather_any(x, patch, index, out);
  note_backend(op, backend_name(scores.scalar_type()));
  return {out, index};
}

// A map with the sum of its patches, which is stored in column 0 of `width` columns, as the kernels need it.
template <class T>
struct SummedMap {
  const T* data;
  int64_t batch_stride, width;
  PatchMatrix matrix;
  std::vector<T> sum;

  SummedMap(const ScoreTable<T>& table, const Tensor& t, int64_t patch, bool channel_first)
      : data(t.const_data_ptr<T>()), batch_stride(t.stride(0)), width(table.lanes),
        matrix(patch_grid(t, patch), channel_first, table.rows), sum(t.size(0) * matrix.entry.size() * width) {
    std::vector<T> ones(matrix.rows * width);
    for (int64_t i = 0; i < matrix.rows; ++i) ones[i * width] = 1;
    patch_moments(table, data, batch_stride, matrix, t.size(0), ones.data(), true, width, sum.data());
  }
};

// out[b, i] = <patch i of `map`, sum of the patches of `other`>.
template <class T>
std::vector<T> products_with_sum(const ScoreTable<T>& table, const SummedMap<T>& map, const SummedMap<T>& other, int64_t batch) {
  std::vector<T> out(batch * map.matrix.rows);
  patch_products(table, map.data, map.batch_stride, map.matrix, batch, other.sum.data(), map.width,
                 [&](int64_t b, int64_t i, const T* row) { out[b * map.matrix.rows + i] = row[0]; });
  return out;
}

// ds_k = slope / tau * pi_k (b_k - sum of pi b), pi = softmax(s / tau).
template <class T>
void softmax_gradient(const T* score, const T* b, int64_t n, T slope, T tau, T* ds) {
  T top = -std::numeric_limits<T>::infinity(), total = 0, mean = 0;
  for (int64_t k = 0; k < n; ++k) top = !(score[k] <= top) ? score[k] : top;
  for (int64_t k = 0; k < n; ++k) {
    ds[k] = std::exp((score[k] - top) / tau);
    total += ds[k];
    mean += ds[k] * b[k];
  }
  mean /= total;
  for (int64_t k = 0; k < n; ++k) ds[k] *= slope / tau / total * (b[k] - mean);
}

template <class T>
void score_gradient(const Tensor& grad, const Tensor& x, const Tensor& scores, const Tensor& index, const SharedShape& s,
                    int64_t patch, int64_t surrogate, T slope, T tau, bool max_grad, Tensor& dscores) {
  const ScoreTable<T>& table = score_table<T>();
  const bool channel_first = x.stride(1) != 1 || x.size(1) == 1;
  const SummedMap<T> gm(table, grad, patch, channel_first), xm(table, x, patch, channel_first);
  const std::vector<T> b = products_with_sum(table, xm, gm, s.batch);
  const T* score = scores.const_data_ptr<T>();
  T* ds = dscores.mutable_data_ptr<T>();
  if (surrogate == kSurrogateSoftmax) {
    torch::stable::parallel_for(0, s.batch, grain(s.patches * 20), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        softmax_gradient(score + i * s.patches, b.data() + i * s.patches, s.patches, slope, tau, ds + i * s.patches);
    });
    return;
  }
  const int32_t* at = index.const_data_ptr<int32_t>();
  const std::vector<T> total = products_with_sum(table, gm, xm, s.batch);
  for (int64_t i = 0; i < s.batch * s.patches; ++i) ds[i] = slope * b[i];
  for (int64_t i = 0; i < s.batch * s.slots; ++i) {
    const int64_t batch = i / s.slots;
    const T c = max_grad ? total[i] : winner_product(gm.data + batch * gm.batch_stride, xm.data + batch * xm.batch_stride,
                                                     gm.matrix, xm.matrix, i % s.slots, (int64_t)at[i]);
    ds[batch * s.patches + at[i]] -= slope * c;
  }
}

TensorPair patch_select_shared_backward(const Tensor& grad_in, const Tensor& x_in, const Tensor& scores_in,
                                        const Tensor& index_in, int64_t patch, int64_t surrogate, double slope, double tau,
                                        bool max_grad, bool need_x, bool need_scores) {
  const char* op = "patch_select_shared_backward";
  const SharedShape s = check_patch_select_shared(op, x_in, scores_in, patch);
  check_halved_gradient(op, grad_in, x_in);
  check_surrogate(op, surrogate, tau);
  const ScalarType type = scores_in.scalar_type();
  const Tensor grad = as_type(grad_in, type), x = as_type(x_in, type);
  const Tensor scores = torch::stable::contiguous(scores_in), index = torch::stable::contiguous(index_in);
  check_index(op, index, s.batch, s.slots, s.patches);
  const bool wide = type == ScalarType::Double;
  Tensor dx = zeros_if(need_x, x), dscores = zeros_if(need_scores, scores);
  if (need_x) wide ? scatter_patches<double>(grad, patch, index, dx) : scatter_patches<float>(grad, patch, index, dx);
  if (need_scores && surrogate != kSurrogateNone && s.batch > 0) {
    if (wide) score_gradient<double>(grad, x, scores, index, s, patch, surrogate, slope, tau, max_grad, dscores);
    else score_gradient<float>(grad, x, scores, index, s, patch, surrogate, (float)slope, (float)tau, max_grad, dscores);
  }
  note_backend(op, backend_name(type));
  return {as_type(dx, x_in.scalar_type()), dscores};
}

}  // namespace
}  // namespace medseg::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(medseg, m) {
  m.def("patch_select_shared(Tensor x, Tensor scores, int patch, int surrogate, float slope, float tau, bool max_grad) -> "
        "(Tensor out, Tensor index)");
  m.def("patch_select_shared_backward(Tensor grad, Tensor x, Tensor scores, Tensor index, int patch, int surrogate, "
        "float slope, float tau, bool max_grad, bool need_x, bool need_scores) -> (Tensor dx, Tensor dscores)");
}

STABLE_TORCH_LIBRARY_IMPL(medseg, CPU, m) {
  m.impl("patch_select_shared", TORCH_BOX(&medseg::cpu::patch_select_shared));
  m.impl("patch_select_shared_backward", TORCH_BOX(&medseg::cpu::patch_select_shared_backward));
}
