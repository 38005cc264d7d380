// Launchers of medseg::patch_gather and medseg::patch_scatter.
#include "../common/last_backend.h"
#include "patch_tensors.h"

namespace medseg::cuda {
namespace {

Tensor patch_gather(const Tensor& x, const Tensor& index_in, int64_t patch, std::vector<int64_t> grid) {
  const char* op = "patch_gather";
  const std::vector<int64_t> shape = gathered_shape(op, x, index_in, patch, grid, false);
  check_voxels(op, shape);
  const Place place(x);
  const Tensor index = torch::stable::contiguous(index_in);
  Tensor out = torch::stable::new_empty(x, shape);
  gather_any(place.stream, x, patch, index, out);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  note_backend(op, "cuda");
  return out;
}

template <class T>
void scatter(const Place& place, const Tensor& x, int64_t patch, const Tensor& index, Tensor& out) {
  Workspace memory(x, place.stream);
  const PatchMap from = patch_map(x, patch);
  const PatchGrid to = patch_grid(out, patch);
  const ScoreSizes s{x.size(0), patch_count(to), patch_count(from.grid), 1, true};
  const SlotLists lists = run_link_slots(memory, place.stream, s, index.const_data_ptr<int32_t>());
  run_scatter_patches<T>(place.stream, s.batch, x.const_data_ptr<T>(), from, to, lists, out.mutable_data_ptr<T>());
}

Tensor patch_scatter(const Tensor& x_in, const Tensor& index_in, int64_t patch, std::vector<int64_t> grid) {
  const char* op = "patch_scatter";
  const std::vector<int64_t> shape = gathered_shape(op, x_in, index_in, patch, grid, true);
  check_voxels(op, shape);
  const Place place(x_in);
  const ScalarType type = x_in.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  const Tensor x = as_type(x_in, type), index = torch::stable::contiguous(index_in);
  Tensor out = torch::stable::new_zeros(x, shape);
  if (x.size(0) > 0 && x.size(1) > 0) {
    if (type == ScalarType::Double) scatter<double>(place, x, patch, index, out);
    else scatter<float>(place, x, patch, index, out);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  }
  note_backend(op, "cuda");
  return as_type(out, x_in.scalar_type());
}

}  // namespace
}  // namespace medseg::cuda

STABLE_TORCH_LIBRARY_IMPL(medseg, CUDA, m) {
  m.impl("patch_gather", TORCH_BOX(&medseg::cuda::patch_gather));
  m.impl("patch_scatter", TORCH_BOX(&medseg::cuda::patch_scatter));
}
