// medseg::patch_select on the CPU, forward: the fused arg-max, then a copy of the chosen patches.
#include "../common/last_backend.h"
#include "ops.h"

namespace medseg::cpu {
namespace {

// U is an unsigned integer of the element's size: values are moved, never computed with.
template <class U>
void copy_patches(const Tensor& x, int64_t patch, const Tensor& index, Tensor& out) {
  const PatchGrid from = patch_grid(x, patch), to = patch_grid(out, patch);
  const int64_t slots = patch_count(to), step = from.stride[3];
  const U* source = static_cast<const U*>(x.data_ptr());
  U* target = static_cast<U*>(out.data_ptr());
  const int32_t* at = index.const_data_ptr<int32_t>();
  const int64_t xb = x.stride(0), ob = out.stride(0);
  torch::stable::parallel_for(0, x.size(0) * from.channels, grain(slots * patch_volume(from)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t b = i / from.channels, c = i % from.channels;
      for (int64_t m = 0; m < slots; ++m) {
        const U* s = source + b * xb + c * from.stride[0] + patch_offset(from, at[b * slots + m]);
        U* t = target + b * ob + c * to.stride[0] + patch_offset(to, m);
        for (int64_t z = 0; z < from.side[0]; ++z)
          for (int64_t y = 0; y < from.side[1]; ++y) {
            const U* sr = s + z * from.stride[1] + y * from.stride[2];
            U* tr = t + z * to.stride[1] + y * to.stride[2];
            for (int64_t v = 0; v < from.side[2]; ++v) tr[v] = sr[v * step];
          }
      }
    }
  });
}

}  // namespace

TensorPair patch_select(const Tensor& x, const Tensor& keys, const Tensor& queries, int64_t patch, double /*slope*/,
                        bool /*max_grad*/) {
  check_patch_select("patch_select", x, keys, queries, patch);
  const Tensor index = std::get<0>(score_argmax(keys, queries));
  Tensor out = torch::stable::new_empty(x, halved_shape(x));
  switch (x.scalar_type()) {
    case ScalarType::Double: copy_patches<uint64_t>(x, patch, index, out); break;
    case ScalarType::Float: copy_patches<uint32_t>(x, patch, index, out); break;
    default: copy_patches<uint16_t>(x, patch, index, out);
  }
  note_backend("patch_select", backend_name(keys.scalar_type()));
  return {out, index};
}

}  // namespace medseg::cpu
