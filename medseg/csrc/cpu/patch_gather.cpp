// medseg::patch_gather and medseg::patch_scatter on the CPU: patches moved by an index, each the gradient of the other.
#include "../common/last_backend.h"
#include "patch_copy.h"

namespace medseg::cpu {
namespace {

Tensor patch_gather(const Tensor& x, const Tensor& index_in, int64_t patch, std::vector<int64_t> grid) {
  const char* op = "patch_gather";
  Tensor out = torch::stable::new_empty(x, gathered_shape(op, x, index_in, patch, grid, false));
  const Tensor index = torch::stable::contiguous(index_in);
  int64_t patches = 1;
  for (int64_t i = 2; i < x.dim(); ++i) patches *= x.size(i) / patch;
  check_index(op, index, x.size(0), index.size(1), patches);
  gather_any(x, patch, index, out);
  note_backend(op, "cpu:generic");
  return out;
}

Tensor patch_scatter(const Tensor& x_in, const Tensor& index_in, int64_t patch, std::vector<int64_t> grid) {
  const char* op = "patch_scatter";
  const std::vector<int64_t> shape = gathered_shape(op, x_in, index_in, patch, grid, true);
  const ScalarType type = x_in.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  const Tensor x = as_type(x_in, type), index = torch::stable::contiguous(index_in);
  int64_t patches = 1;
  for (const int64_t g : grid) patches *= g;
  check_index(op, index, x.size(0), index.size(1), patches);
  Tensor out = torch::stable::new_zeros(x, shape);
  if (type == ScalarType::Double) scatter_patches<double>(x, patch, index, out);
  else scatter_patches<float>(x, patch, index, out);
  note_backend(op, type == ScalarType::Double ? "cpu:generic64" : "cpu:generic");
  return as_type(out, x_in.scalar_type());
}

}  // namespace
}  // namespace medseg::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(medseg, m) {
  m.def("patch_gather(Tensor x, Tensor index, int patch, int[] grid) -> Tensor");
  m.def("patch_scatter(Tensor x, Tensor index, int patch, int[] grid) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(medseg, CPU, m) {
  m.impl("patch_gather", TORCH_BOX(&medseg::cpu::patch_gather));
  m.impl("patch_scatter", TORCH_BOX(&medseg::cpu::patch_scatter));
}
