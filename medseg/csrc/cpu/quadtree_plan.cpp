// medseg::quadtree_plan and medseg::quadtree_select on the CPU.
// Rules: medseg/ops/quadtree_plan.py.
#include "../common/last_backend.h"
#include "kernel_tables.h"
#include "quadtree_scores.h"
#include "quadtree_select.h"

namespace medseg::cpu {
namespace {

using QuadtreeResult = std::tuple<Tensor, Tensor, Tensor, Tensor>;

template <class T>
std::vector<Volume<T>> volumes(const Tensor& x, const QuadtreeShape& s) {
  const int64_t dims = x.dim() - 2;
  std::vector<Volume<T>> maps;
  for (int64_t b = 0; b < s.batch; ++b)
    for (int64_t c = 0; c < s.channels; ++c)
      maps.push_back({x.const_data_ptr<T>() + b * x.stride(0) + c * x.stride(1),
                      {s.size[0], s.size[1], s.size[2]},
                      {dims == 3 ? x.stride(2) : 0, x.stride(dims)}});
  return maps;
}

template <class T>
void run_scores(const Tensor& x, const QuadtreeShape& s, Metric metric, const Floats& given, T* score) {
  const std::vector<Volume<T>> maps = volumes<T>(x, s);
  double spacing[3] = {1, 1, 1};
  for (size_t i = 0; i < given.size(); ++i) spacing[3 - given.size() + i] = given[i];
  const QuadtreeTable<T>& rows = quadtree_table<T>();
  switch (metric) {
    case Metric::kGradientMax: return metric_scores<T, Metric::kGradientMax>(s, rows, maps, spacing, score);
    case Metric::kGradientMean: return metric_scores<T, Metric::kGradientMean>(s, rows, maps, spacing, score);
    case Metric::kVariance: return metric_scores<T, Metric::kVariance>(s, rows, maps, spacing, score);
    case Metric::kRange: return metric_scores<T, Metric::kRange>(s, rows, maps, spacing, score);
    default: return entropy_scores<T>(s, rows, maps, score);
  }
}

QuadtreeResult quadtree_plan(const Tensor& x_in, Ints grids, Ints keep, Floats limit, int64_t metric, Floats spacing) {
  const char* op = "quadtree_plan";
  const QuadtreeChoice choice = check_quadtree_plan(op, x_in, grids, keep, limit, metric, spacing);
  const Tensor x = x_in.stride(x_in.dim() - 1) == 1 ? x_in : torch::stable::contiguous(x_in);
  Tensor score = torch::stable::new_empty(x, {choice.shape.batch, choice.shape.start[choice.shape.rounds]});
  QuadtreeLists lists = new_quadtree_lists(x, choice, x.dim() - 2);
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    T* values = score.mutable_data_ptr<T>();
    run_scores<T>(x, choice.shape, (Metric)metric, spacing, values);
    run_select<T>(choice, values, lists);
  };
  if (x.scalar_type() == ScalarType::Double) run(0.0);
  else run(0.0f);
  note_backend(op, backend_name(x.scalar_type()));
  return {lists.index, lists.count, lists.mask, score};
}

std::tuple<Tensor, Tensor, Tensor> quadtree_select(const Tensor& score_in, Ints size, Ints grids, Ints keep, Floats limit) {
  const char* op = "quadtree_select";
  const QuadtreeChoice choice = check_quadtree_select(op, score_in, size, grids, keep, limit);
  const Tensor score = torch::stable::contiguous(score_in);
  QuadtreeLists lists = new_quadtree_lists(score, choice, (int64_t)size.size());
  if (score.scalar_type() == ScalarType::Double) run_select<double>(choice, score.const_data_ptr<double>(), lists);
  else run_select<float>(choice, score.const_data_ptr<float>(), lists);
  note_backend(op, backend_name(score.scalar_type()));
  return {lists.index, lists.count, lists.mask};
}

}  // namespace
}  // namespace medseg::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(medseg, m) {
  m.def("quadtree_plan(Tensor x, int[] grids, int[] keep, float[] limit, int metric, float[] spacing) -> "
        "(Tensor index, Tensor count, Tensor mask, Tensor score)");
  m.def("quadtree_select(Tensor score, int[] size, int[] grids, int[] keep, float[] limit) -> "
        "(Tensor index, Tensor count, Tensor mask)");
}

STABLE_TORCH_LIBRARY_IMPL(medseg, CPU, m) {
  m.impl("quadtree_plan", TORCH_BOX(&medseg::cpu::quadtree_plan));
  m.impl("quadtree_select", TORCH_BOX(&medseg::cpu::quadtree_select));
}
