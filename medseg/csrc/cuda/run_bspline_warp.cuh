// Sequences of kernels behind bspline_warp and its gradient.
#pragma once
#include "bspline_warp_gradient.cuh"
#include "sum_splits.cuh"

namespace medseg {

// Position of the first control point and distance between them, in voxels, along z, y, x (z is not used in 2-D).
struct WarpGrid {
  double origin[3], spacing[3];
};

template <class T>
struct WarpField {
  WarpTables<T> tables;
  T* lines;
};

inline int64_t warp_plane(const WarpShape& s) { return s.size[0] * s.size[1] * s.size[2]; }

template <class T, class Workspace, class Stream>
WarpField<T> run_warp_field(Workspace& memory, Stream stream, const WarpShape& s, const WarpGrid& grid, const T* control) {
  WarpField<T> f{};
  for (int a = 0; a < 3; ++a) {
    f.tables.first[a] = memory.template get<int32_t>(s.size[a]);
    f.tables.weight[a] = memory.template get<T>(4 * s.size[a]);
    if (a >= 3 - s.dims)
      MS_LAUNCH((warp_weights_kernel<T>), dim3(blocks_for(s.size[a])), dim3(kThreads), stream, s.size[a], s.points[a],
                grid.origin[a], grid.spacing[a], f.tables.first[a], f.tables.weight[a]);
  }
  const int64_t samples = s.control_stride == 0 ? 1 : s.batch, count = samples * s.size[0] * s.size[1] * s.dims * s.points[2];
  f.lines = memory.template get<T>(count);
  MS_LAUNCH((warp_lines_kernel<T>), dim3(blocks_for(count)), dim3(kThreads), stream, control, s, f.tables, samples, f.lines);
  return f;
}

template <class T, class Workspace, class Stream>
void run_warp_linear(Workspace& memory, Stream stream, const WarpShape& s, const WarpGrid& grid, const T* x, const T* control,
                     T fill, T* out) {
  if (s.batch * s.channels == 0) return;
  const WarpField<T> f = run_warp_field<T>(memory, stream, s, grid, control);
  MS_LAUNCH((warp_linear_kernel<T>), dim3(blocks_for(s.batch * warp_plane(s))), dim3(kThreads), stream, x, s, f.tables, f.lines,
            fill, out);
}

template <class T, class U, class Workspace, class Stream>
void run_warp_nearest(Workspace& memory, Stream stream, const WarpShape& s, const WarpGrid& grid, const U* x, const T* control,
                      U* out) {
  if (s.batch * s.channels == 0) return;
  const WarpField<T> f = run_warp_field<T>(memory, stream, s, grid, control);
  MS_LAUNCH((warp_nearest_kernel<T, U>), dim3(blocks_for(s.batch * warp_plane(s))), dim3(kThreads), stream, x, s, f.tables,
            f.lines, out);
}

// dx [B, C, *S] contiguous.
template <class T, class Workspace, class Stream>
void run_warp_image_gradient(Workspace& memory, Stream stream, const WarpShape& s, const WarpGrid& grid, const T* grad,
                             const T* control, T* dx) {
  const int64_t count = s.batch * s.channels * warp_plane(s);
  if (count == 0) return;
  const WarpField<T> f = run_warp_field<T>(memory, stream, s, grid, control);
  Bits* largest = memory.template get<Bits>(1);
  Bits* sums = memory.template get<Bits>(count);
  memory.fill(largest, 0, sizeof(Bits));
  memory.fill(sums, 0, count * (int64_t)sizeof(Bits));
  MS_LAUNCH((warp_largest_kernel<T>), dim3(blocks_for(count)), dim3(kThreads), stream, grad, count, largest);
  MS_LAUNCH((warp_scatter_kernel<T>), dim3(blocks_for(s.batch * warp_plane(s))), dim3(kThreads), stream, grad, s, f.tables,
            f.lines, largest, sums);
  MS_LAUNCH((warp_unscale_kernel<T>), dim3(blocks_for(count)), dim3(kThreads), stream, sums, largest, warp_plane(s), count, dx);
}

// dcontrol [B or 1, d, *G] contiguous; bilinear only.
template <class T, class Workspace, class Stream>
void run_warp_control_gradient(Workspace& memory, Stream stream, const WarpShape& s, const WarpGrid& grid, const T* grad,
                               const T* x, const T* control, T fill, T* dcontrol) {
  if (s.batch * s.channels == 0) return;
  const WarpField<T> f = run_warp_field<T>(memory, stream, s, grid, control);
  const int64_t maps = s.batch * s.dims, gx = s.points[2], gy = s.points[1], gz = s.points[0];
  T* du = memory.template get<T>(maps * warp_plane(s));
  T* by_x = memory.template get<T>(maps * s.size[0] * s.size[1] * gx);
  T* by_y = memory.template get<T>(maps * s.size[0] * gy * gx);
  MS_LAUNCH((warp_displacement_gradient_kernel<T>), dim3(blocks_for(s.batch * warp_plane(s))), dim3(kThreads), stream, grad, x, s,
            f.tables, f.lines, fill, du);
  const auto adjoint = [&](const T* in, int64_t repeats, int64_t outer, int axis, int64_t inner, T* out) {
    MS_LAUNCH((warp_adjoint_kernel<T>), dim3(blocks_for(outer * s.points[axis] * inner)), dim3(kThreads), stream, in, repeats,
              outer, s.size[axis], inner, s.points[axis], (const int32_t*)f.tables.first[axis], (const T*)f.tables.weight[axis],
              out);
  };
  const int64_t repeats = s.control_stride == 0 ? s.batch : 1;
  adjoint(du, 1, maps * s.size[0] * s.size[1], 2, 1, by_x);
  adjoint(by_x, 1, maps * s.size[0], 1, gx, by_y);
  if (s.dims == 3) adjoint(by_y, repeats, maps / repeats, 0, gy * gx, dcontrol);
  else
    MS_LAUNCH((sum_splits_kernel<T>), dim3(blocks_for(maps / repeats * gz * gy * gx)), dim3(kThreads), stream, by_y, repeats,
              maps / repeats * gz * gy * gx, dcontrol);
}

}  // namespace medseg
