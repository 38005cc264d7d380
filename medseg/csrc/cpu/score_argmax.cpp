// medseg::score_argmax on the CPU: panels of queries against all keys; scores exist in registers only.
#include "score_argmax.h"

#include "../common/last_backend.h"
#include "../common/patch_inputs.h"
#include "kernel_tables.h"

namespace medseg::cpu {

namespace {

template <class T>
void run_score_argmax(const ScoreShape& s, const Tensor& keys, const Tensor& queries, Tensor& index, Tensor& score) {
  const ScoreTable<T>& table = score_table<T>();
  const T* h = keys.const_data_ptr<T>();
  const T* w = queries.const_data_ptr<T>();
  int32_t* at = index.mutable_data_ptr<int32_t>();
  T* best = score.mutable_data_ptr<T>();
  const int64_t width = table.panel_width, panels = (s.queries + width - 1) / width;
  torch::stable::parallel_for(0, s.batch * panels, grain(s.keys * s.rank * width), [&](int64_t begin, int64_t end) {
    std::vector<T> scratch(s.rank * width);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t b = i / panels, m = i % panels * width;
      table.score_argmax(h + b * s.keys * s.rank, s.keys, s.rank, w + (s.shared ? 0 : b * s.queries * s.rank), m,
                         m + width < s.queries ? m + width : s.queries, scratch.data(), at + b * s.queries,
                         best + b * s.queries);
    }
  });
}

template <class T>
void run_score_argmax_backward(const ScoreShape& s, const Tensor& grad, const Tensor& keys, const Tensor& queries,
                               const Tensor& index, Tensor& dkeys, Tensor& dqueries) {
  const T *g = grad.const_data_ptr<T>(), *h = keys.const_data_ptr<T>(), *w = queries.const_data_ptr<T>();
  const int32_t* at = index.const_data_ptr<int32_t>();
  T *dh = dkeys.mutable_data_ptr<T>(), *dw = dqueries.mutable_data_ptr<T>();
  const int64_t m_count = s.queries, r = s.rank;
  torch::stable::parallel_for(0, s.batch, grain(m_count * r), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      for (int64_t m = 0; m < m_count; ++m) {  // ascending m: the order of the sums never changes
        T* row = dh + (b * s.keys + at[b * m_count + m]) * r;
        const T* q = w + ((s.shared ? 0 : b * m_count) + m) * r;
        for (int64_t j = 0; j < r; ++j) row[j] += g[b * m_count + m] * q[j];
      }
  });
  torch::stable::parallel_for(0, m_count, grain(s.batch * r), [&](int64_t begin, int64_t end) {
    for (int64_t m = begin; m < end; ++m)
      for (int64_t b = 0; b < s.batch; ++b) {
        T* row = dw + ((s.shared ? 0 : b * m_count) + m) * r;
        const T* k = h + (b * s.keys + at[b * m_count + m]) * r;
        for (int64_t j = 0; j < r; ++j) row[j] += g[b * m_count + m] * k[j];
      }
  });
}

TensorPair score_argmax_backward(const Tensor& grad_in, const Tensor& keys_in, const Tensor& queries_in,
                                 const Tensor& index_in) {
  const char* op = "score_argmax_backward";
  const ScoreShape s = score_shape(op, keys_in, queries_in);
  const Tensor keys = torch::stable::contiguous(keys_in), queries = torch::stable::contiguous(queries_in);
  const Tensor grad = torch::stable::contiguous(grad_in), index = torch::stable::contiguous(index_in);
  check_index(op, index, s.batch, s.queries, s.keys);
  check_score_gradient(op, grad, keys, s);
  Tensor dkeys = torch::stable::new_zeros(keys, full_shape(keys));
  Tensor dqueries = torch::stable::new_zeros(queries, full_shape(queries));
  if (keys.scalar_type() == ScalarType::Double)
    run_score_argmax_backward<double>(s, grad, keys, queries, index, dkeys, dqueries);
  else
    run_score_argmax_backward<float>(s, grad, keys, queries, index, dkeys, dqueries);
  note_backend(op, backend_name(keys.scalar_type()));
  return {dkeys, dqueries};
}

}  // namespace

TensorPair score_argmax(const Tensor& keys_in, const Tensor& queries_in) {
  const ScoreShape s = score_shape("score_argmax", keys_in, queries_in);
  const Tensor keys = torch::stable::contiguous(keys_in), queries = torch::stable::contiguous(queries_in);
  Tensor index = torch::stable::new_empty(keys, {s.batch, s.queries}, ScalarType::Int);
  Tensor score = torch::stable::new_empty(keys, {s.batch, s.queries});
  if (keys.scalar_type() == ScalarType::Double) run_score_argmax<double>(s, keys, queries, index, score);
  else run_score_argmax<float>(s, keys, queries, index, score);
  note_backend("score_argmax", backend_name(keys.scalar_type()));
  return {index, score};
}

}  // namespace medseg::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(medseg, m) {
  m.def("score_argmax(Tensor keys, Tensor queries) -> (Tensor index, Tensor score)");
  m.def("score_argmax_backward(Tensor grad, Tensor keys, Tensor queries, Tensor index) -> (Tensor dkeys, Tensor dqueries)");
}

STABLE_TORCH_LIBRARY_IMPL(medseg, CPU, m) {
  m.impl("score_argmax", TORCH_BOX(&medseg::cpu::score_argmax));
  m.impl("score_argmax_backward", TORCH_BOX(&medseg::cpu::score_argmax_backward));
}
