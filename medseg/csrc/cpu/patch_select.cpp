// medseg::patch_select on the CPU, forward: the fused arg-max, then a copy of the chosen patches.
#include "../common/last_backend.h"
#include "ops.h"
#include "patch_copy.h"

namespace medseg::cpu {

TensorPair patch_select(const Tensor& x, const Tensor& keys, const Tensor& queries, int64_t patch, double /*slope*/,
                        bool /*max_grad*/) {
  check_patch_select("patch_select", x, keys, queries, patch);
  const Tensor index = std::get<0>(score_argmax(keys, queries));
  Tensor out = torch::stable::new_empty(x, halved_shape(x));
  gather_any(x, patch, index, out);
  note_backend("patch_select", backend_name(keys.scalar_type()));
  return {out, index};
}

}  // namespace medseg::cpu
