// Tensors as the kernels that score and move patches see them (stable ABI).
#pragma once
#include "../common/patch_inputs.h"
#include "run_patch_select.cuh"
#include "workspace.h"

namespace medseg::cuda {

inline ScoreSizes score_sizes(const ScoreShape& s) { return {s.batch, s.keys, s.queries, s.rank, s.shared}; }

inline PatchMap patch_map(const Tensor& t, int64_t patch) { return {patch_grid(t, patch), t.stride(0)}; }

// The kernels number the voxels of a map by 32-bit integers.
inline void check_voxels(const char* op, const std::vector<int64_t>& shape) {
  int64_t voxels = 1;
  for (size_t i = 2; i < shape.size(); ++i) voxels *= shape[i];
  require(voxels <= std::numeric_limits<int32_t>::max(), op, "more than 2^31 - 1 voxels in one map");
}

// U is an unsigned integer of the element's size: the values are only moved.
template <class U>
void gather_patches(cudaStream_t stream, const Tensor& x, int64_t patch, const Tensor& index, Tensor& out) {
  run_copy_patches<U>(stream, x.size(0), static_cast<const U*>(x.data_ptr()), patch_map(x, patch), patch_grid(out, patch),
                      index.const_data_ptr<int32_t>(), static_cast<U*>(out.data_ptr()));
}

// out takes patch index[b, m] of x at its place m, for every dtype.
inline void gather_any(cudaStream_t stream, const Tensor& x, int64_t patch, const Tensor& index, Tensor& out) {
  switch (x.scalar_type()) {
    case ScalarType::Double: return gather_patches<uint64_t>(stream, x, patch, index, out);
    case ScalarType::Float: return gather_patches<uint32_t>(stream, x, patch, index, out);
    default: gather_patches<uint16_t>(stream, x, patch, index, out);
  }
}

}  // namespace medseg::cuda
