// medseg::patch_select on the CPU, forward: the fused arg-max, then a copy of the chosen patches.
#include "../common/last_backend.h"
#include "patch_copy.h"
#include "score_argmax.h"

namespace medseg::cpu {
namespace {

TensorPair patch_select(const Tensor& x, const Tensor& keys, const Tensor& queries, int64_t patch, double /*slope*/,
                        bool /*max_grad*/) {
  check_patch_select("patch_select", x, keys, queries, patch);
  const Tensor index = std::get<0>(score_argmax(keys, queries));
  Tensor out = torch::stable::new_empty(x, halved_shape(x));
  gather_any(x, patch, index, out);
  note_backend("patch_select", backend_name(keys.scalar_type()));
  return {out, index};
}

}  // namespace
}  // namespace medseg::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(medseg, m) {
  m.def("patch_select(Tensor x, Tensor keys, Tensor queries, int patch, float slope=0.1, bool max_grad=True) -> "
        "(Tensor out, Tensor index)");
}

STABLE_TORCH_LIBRARY_IMPL(medseg, CPU, m) { m.impl("patch_select", TORCH_BOX(&medseg::cpu::patch_select)); }
