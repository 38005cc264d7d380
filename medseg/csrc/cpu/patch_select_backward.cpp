// medseg::patch_select on the CPU, backward.
//
// Two independent parts: dx is a scatter-add of the gradient patches, in ascending slot order; dkeys and dqueries come from
// the gradient of the scores, which has N * M entries but low rank (formulas: medseg/ops/patch_select.py). Another surrogate
// would replace only literal_score_gradient. Every sum is computed by one thread in a fixed order, so that the number of threads
// does not change the result.
#include "../common/last_backend.h"
#include "patch_copy.h"
#include "patch_products.h"
#include "patch_select.h"

namespace medseg::cpu {
namespace {

struct Problem {
  const Tensor &grad, &x, &keys, &queries, &index;
  ScoreShape shape;
  int64_t patch;
};

template <class T>
void literal_score_gradient(const Problem& p, T slope, bool max_grad, Tensor& dkeys, Tensor& dqueries) {
  const ScoreTable<T>& table = score_table<T>();
  const auto [batch, n, m_count, r, shared] = p.shape;
  const bool channel_first = p.x.stride(1) != 1 || p.x.size(1) == 1;
  const PatchMatrix xm(patch_grid(p.x, p.patch), channel_first, table.rows);
  const PatchMatrix gm(patch_grid(p.grad, p.patch), channel_first, table.rows);
  const T *x = p.x.const_data_ptr<T>(), *g = p.grad.const_data_ptr<T>();
  const T *h = p.keys.const_data_ptr<T>(), *w = p.queries.const_data_ptr<T>();
  const int32_t* at = p.index.const_data_ptr<int32_t>();
  T *dh = dkeys.mutable_data_ptr<T>(), *dw = dqueries.mutable_data_ptr<T>();
  const int64_t xb = p.x.stride(0), gb = p.grad.stride(0), rank = r, slots = m_count, patches = n;
  const int64_t width = round_up(r + 1, table.lanes), moment = (int64_t)xm.entry.size() * width;

  // P^T [H, 1] and G^T W; the column of ones gives the sum of all patches.
  std::vector<T> p_moments(batch * moment), g_moments(batch * moment), padded(std::max(batch * n, m_count) * width);
  pad_rows<T>(w, m_count, r, width, 0, padded.data());
  patch_moments(table, g, gb, gm, batch, padded.data(), true, width, g_moments.data());
  pad_rows<T>(h, batch * n, r, width, 1, padded.data());
  patch_moments(table, x, xb, xm, batch, padded.data(), false, width, p_moments.data());

  // dW = slope * (G (P^T H) - c H[k*]), c = <g, sum of patches>; c is kept for dH.
  std::vector<T> correction(batch * m_count);
  patch_products(table, g, gb, gm, batch, p_moments.data(), width, [&](int64_t b, int64_t m, const T* row) {
    const int64_t k = at[b * slots + m];
    const T c = max_grad ? row[rank] : winner_product(g + b * gb, x + b * xb, gm, xm, m, k);
    const T* key = h + (b * patches + k) * rank;
    for (int64_t j = 0; j < rank; ++j) dw[m * rank + j] += slope * (row[j] - c * key[j]);
    correction[b * slots + m] = c;
  });
  // dH = slope * (P (G^T W) - scatter of c W).
  patch_products(table, x, xb, xm, batch, g_moments.data(), width, [&](int64_t b, int64_t k, const T* row) {
    for (int64_t j = 0; j < rank; ++j) dh[(b * patches + k) * rank + j] = slope * row[j];
  });
  torch::stable::parallel_for(0, batch, grain(slots * rank), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      for (int64_t m = 0; m < slots; ++m) {
        T* row = dh + (b * patches + at[b * slots + m]) * rank;
        const T c = slope * correction[b * slots + m];
        for (int64_t j = 0; j < rank; ++j) row[j] -= c * w[m * rank + j];
      }
  });
}

template <class T>
void run(const Problem& p, T slope, bool max_grad, bool need_x, bool need_scores, Tensor& dx, Tensor& dkeys,
         Tensor& dqueries) {
  if (need_x) scatter_patches<T>(p.grad, p.patch, p.index, dx);
  if (need_scores && p.shape.batch > 0) literal_score_gradient<T>(p, slope, max_grad, dkeys, dqueries);
}

}  // namespace

TensorTriple patch_select_backward(const Tensor& grad_in, const Tensor& x_in, const Tensor& keys_in,
                                   const Tensor& queries_in, const Tensor& index_in, int64_t patch, double slope,
                                   bool max_grad, bool need_x, bool need_scores) {
  const char* op = "patch_select_backward";
  const ScoreShape s = check_patch_select(op, x_in, keys_in, queries_in, patch);
  check_halved_gradient(op, grad_in, x_in);
  const ScalarType type = keys_in.scalar_type();
  const Tensor grad = as_type(grad_in, type), x = as_type(x_in, type), index = torch::stable::contiguous(index_in);
  const Tensor keys = torch::stable::contiguous(keys_in), queries = torch::stable::contiguous(queries_in);
  check_index(op, index, s.batch, s.queries, s.keys);
  Tensor dx = zeros_if(need_x, x), dkeys = zeros_if(need_scores, keys), dqueries = zeros_if(need_scores, queries);
  const Problem p{grad, x, keys, queries, index, s, patch};
  if (type == ScalarType::Double) run<double>(p, slope, max_grad, need_x, need_scores, dx, dkeys, dqueries);
  else run<float>(p, (float)slope, max_grad, need_x, need_scores, dx, dkeys, dqueries);
  note_backend(op, backend_name(type));
  return {as_type(dx, x_in.scalar_type()), dkeys, dqueries};
}

}  // namespace medseg::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(medseg, m) {
  m.def("patch_select_backward(Tensor grad, Tensor x, Tensor keys, Tensor queries, Tensor index, int patch, float slope, "
        "bool max_grad, bool need_x, bool need_scores) -> (Tensor dx, Tensor dkeys, Tensor dqueries)");
}

STABLE_TORCH_LIBRARY_IMPL(medseg, CPU, m) { m.impl("patch_select_backward", TORCH_BOX(&medseg::cpu::patch_select_backward)); }
