// Forward copy of the chosen patches and its transpose, the scatter-add of gradient patches.
#pragma once
#include "launch.cuh"

namespace medseg {

// Patch of a voxel (raster index over the whole map) and offset of the voxel inside it.
struct VoxelPlace {
  int32_t patch;
  int64_t inner;
};

MS_HD VoxelPlace voxel_place(const PatchGrid& g, int32_t voxel) {
  const int32_t sz = (int32_t)g.side[0], sy = (int32_t)g.side[1], sx = (int32_t)g.side[2];
  const int32_t gy = (int32_t)g.grid[1], gx = (int32_t)g.grid[2];
  const int32_t x = voxel % (gx * sx), y = voxel / (gx * sx) % (gy * sy), z = voxel / (gx * sx) / (gy * sy);
  const int32_t patch = ((z / sz) * gy + y / sy) * gx + x / sx;
  return {patch, (z % sz) * g.stride[1] + (y % sy) * g.stride[2] + (x % sx) * g.stride[3]};
}

// target (contiguous [batch, C, *S/2], slots as patches of `to`) receives patch index[b, slot] of source. `inner` strides are
// the source's: `shape` is `to` with the strides of `from`.
template <class U>
__global__ void __launch_bounds__(256) copy_patches_kernel(const U* source, int64_t source_batch, PatchGrid from, PatchGrid shape,
                                                           const int32_t* index, int64_t batch, U* target) {
  const int64_t slots = patch_count(shape), voxels = slots * patch_volume(shape), count = batch * from.channels * voxels;
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (int64_t)gridDim.x * blockDim.x) {
    const int64_t c = i / voxels % from.channels, b = i / voxels / from.channels;
    const VoxelPlace at = voxel_place(shape, (int32_t)(i % voxels));
    target[i] = source[b * source_batch + c * from.stride[0] + patch_offset(from, index[b * slots + at.patch]) + at.inner];
  }
}

// dx (contiguous) at a voxel of patch k = sum over the list of k, ascending, of the gradient at the same place of the slot.
// `to` has the grid of x and the strides of grad.
template <class T>
__global__ void __launch_bounds__(256) scatter_patches_kernel(const T* grad, int64_t grad_batch, PatchGrid from, PatchGrid to,
                                                              const int32_t* head, const int32_t* next, int64_t batch, T* dx) {
  const int64_t n = patch_count(to), slots = patch_count(from), voxels = n * patch_volume(to);
  const int64_t count = batch * to.channels * voxels;
  for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (int64_t)gridDim.x * blockDim.x) {
    const int64_t c = i / voxels % to.channels, b = i / voxels / to.channels;
    const VoxelPlace at = voxel_place(to, (int32_t)(i % voxels));
    const T* g = grad + b * grad_batch + c * from.stride[0] + at.inner;
    T sum = 0;
    for (int32_t s = head[b * n + at.patch]; s >= 0; s = next[b * slots + s]) sum += g[patch_offset(from, s)];
    dx[i] = sum;
  }
}

}  // namespace medseg
