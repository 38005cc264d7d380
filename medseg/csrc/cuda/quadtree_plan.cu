// Launcher of medseg::quadtree_plan and medseg::quadtree_select.
#include "../common/last_backend.h"
#include "../common/quadtree_inputs.h"
#include "run_quadtree_plan.cuh"
#include "workspace.h"

namespace medseg::cuda {
namespace {

template <class T>
void select_into(Workspace& memory, const Place& place, const QuadtreeChoice& c, const T* score, QuadtreeLists& lists) {
  SelectLimits limits{};
  limits.limited = c.limited;
  for (int r = 0; r < kMaxRounds; ++r) {
    limits.keep[r] = c.keep[r];
    limits.limit[r] = c.limit[r];
  }
  run_quadtree_select<T>(memory, place.stream, c.shape, limits, c.width, score, lists.index.mutable_data_ptr<int32_t>(),
                         lists.count.mutable_data_ptr<int32_t>(), lists.mask.mutable_data_ptr<bool>());
}

std::tuple<Tensor, Tensor, Tensor, Tensor> quadtree_plan(const Tensor& x, Ints grids, Ints keep, Floats limit, int64_t metric,
                                                         Floats given) {
  const char* op = "quadtree_plan";
  const QuadtreeChoice c = check_quadtree_plan(op, x, grids, keep, limit, metric, given);
  require(c.shape.size[0] * c.shape.size[1] * c.shape.size[2] < (int64_t)1 << 31, op, "more than 2^31 - 1 voxels in one map");
  const Place place(x);
  Tensor score = torch::stable::new_empty(x, {c.shape.batch, c.shape.start[c.shape.rounds]});
  QuadtreeLists lists = new_quadtree_lists(x, c, x.dim() - 2);
  VoxelStrides strides{{x.stride(0), x.stride(1), 0, 0, 0}};
  Spacing spacing{};
  for (int64_t i = 2; i < x.dim(); ++i) {
    strides.at[5 - x.dim() + i] = x.stride(i);
    spacing.central[3 - x.dim() + i] = 0.5 / given[i - 2];
    spacing.one_sided[3 - x.dim() + i] = 1.0 / given[i - 2];
  }
  Workspace memory(x, place.stream);
  const auto run = [&](auto zero) {
    using T = decltype(zero);
    T* values = score.mutable_data_ptr<T>();
    run_block_scores<T>(memory, place.stream, c.shape, (Metric)metric, x.const_data_ptr<T>(), strides, spacing, values);
    select_into<T>(memory, place, c, values, lists);
  };
  if (x.scalar_type() == ScalarType::Double) run(0.0);
  else run(0.0f);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  note_backend(op, "cuda");
  return {lists.index, lists.count, lists.mask, score};
}

std::tuple<Tensor, Tensor, Tensor> quadtree_select(const Tensor& score_in, Ints size, Ints grids, Ints keep, Floats limit) {
  const char* op = "quadtree_select";
  const QuadtreeChoice c = check_quadtree_select(op, score_in, size, grids, keep, limit);
  const Place place(score_in);
  const Tensor score = torch::stable::contiguous(score_in);
  QuadtreeLists lists = new_quadtree_lists(score, c, (int64_t)size.size());
  Workspace memory(score, place.stream);
  if (score.scalar_type() == ScalarType::Double) select_into<double>(memory, place, c, score.const_data_ptr<double>(), lists);
  else select_into<float>(memory, place, c, score.const_data_ptr<float>(), lists);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  note_backend(op, "cuda");
  return {lists.index, lists.count, lists.mask};
}

}  // namespace
}  // namespace medseg::cuda

STABLE_TORCH_LIBRARY_IMPL(medseg, CUDA, m) {
  m.impl("quadtree_plan", TORCH_BOX(&medseg::cuda::quadtree_plan));
  m.impl("quadtree_select", TORCH_BOX(&medseg::cuda::quadtree_select));
}
