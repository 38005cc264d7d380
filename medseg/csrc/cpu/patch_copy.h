// Patches moved between maps by an index: the gather of the forward passes and its transpose, the scatter-add.
#pragma once
#include "../common/patch_inputs.h"
#include "op_helpers.h"

namespace medseg::cpu {

// out takes patch index[b, m] of x at its place m. U is an unsigned integer of the element's size: the values are only
// moved.
template <class U>
void gather_patches(const Tensor& x, int64_t patch, const Tensor& index, Tensor& out) {
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

// The gather for every dtype.
inline void gather_any(const Tensor& x, int64_t patch, const Tensor& index, Tensor& out) {
  switch (x.scalar_type()) {
    case ScalarType::Double: gather_patches<uint64_t>(x, patch, index, out); break;
    case ScalarType::Float: gather_patches<uint32_t>(x, patch, index, out); break;
    default: gather_patches<uint16_t>(x, patch, index, out);
  }
}

// Patch m of grad is added to patch index[b, m] of dx, in ascending m.
template <class T>
void scatter_patches(const Tensor& grad, int64_t patch, const Tensor& index, Tensor& dx) {
  const PatchGrid from = patch_grid(grad, patch), to = patch_grid(dx, patch);
  const int64_t slots = patch_count(from), step = from.stride[3], gb = grad.stride(0), db = dx.stride(0);
  const T* g = grad.const_data_ptr<T>();
  const int32_t* at = index.const_data_ptr<int32_t>();
  T* d = dx.mutable_data_ptr<T>();
  torch::stable::parallel_for(0, dx.size(0) * to.channels, grain(slots * patch_volume(to)), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t b = i / to.channels, c = i % to.channels;
      for (int64_t m = 0; m < slots; ++m) {
        const T* s = g + b * gb + c * from.stride[0] + patch_offset(from, m);
        T* t = d + b * db + c * to.stride[0] + patch_offset(to, at[b * slots + m]);
        for (int64_t z = 0; z < to.side[0]; ++z)
          for (int64_t y = 0; y < to.side[1]; ++y) {
            const T* sr = s + z * from.stride[1] + y * from.stride[2];
            T* tr = t + z * to.stride[1] + y * to.stride[2];
            for (int64_t v = 0; v < to.side[2]; ++v) tr[v] += sr[v * step];
          }
      }
    }
  });
}

}  // namespace medseg::cpu
