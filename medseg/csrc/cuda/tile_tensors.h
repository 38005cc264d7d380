// Tensors as the tile kernels see them (stable ABI).
#pragma once
#include "../common/block_inputs.h"
#include "tile_conv_instances.h"

namespace medseg::cuda {

// Strides of a map or of packed tiles as [item, channel, z, y, x].
template <class T>
TileView<T> tile_view(const Tensor& t, bool packed) {
  TileView<T> v{static_cast<T*>(t.data_ptr()), {t.stride(0), t.stride(1), 0, 0, 0}, packed};
  for (int64_t i = 2; i < t.dim(); ++i) v.stride[5 - t.dim() + i] = t.stride(i);
  return v;
}

template <class T>
TileView<const T> const_tile_view(const Tensor& t, bool packed) {
  const TileView<T> v = tile_view<T>(t, packed);
  return {v.data, {v.stride[0], v.stride[1], v.stride[2], v.stride[3], v.stride[4]}, packed};
}

// The type of the arithmetic and of the parameters: 16-bit floats are computed in float32.
inline ScalarType computed_type(ScalarType type) { return type == ScalarType::Double ? type : ScalarType::Float; }

// The tensor, contiguous and in the type of the arithmetic; copied only if it is not so already.
inline Tensor computed(const Tensor& t, ScalarType type) { return torch::stable::contiguous(as_type(t, computed_type(type))); }

inline Tensor nothing(const Tensor& like, ScalarType type) { return torch::stable::new_empty(like, std::vector<int64_t>{0}, type); }

// call(zero) with a zero of the element type that the kernels use for `type`.
template <class Call>
void for_type(ScalarType type, const Call& call) {
  switch (type) {
    case ScalarType::Double: return call(0.0);
    case ScalarType::Float: return call(0.0f);
    case ScalarType::BFloat16: return call(__nv_bfloat16{});
    default: call(__half{});
  }
}

}  // namespace medseg::cuda
