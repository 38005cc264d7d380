// Gradient of medseg::bspline_warp on the CPU: that of the image channel by channel, that of the control points plane by plane.
// The order of the sums does not depend on the number of threads.
#include "../common/last_backend.h"
#include "bspline_rows.h"
#include "op_helpers.h"

namespace medseg::cpu {
namespace {

using Floats = std::vector<double>;

// A voxel of an output row: where it reads along z, y, x.
template <class T>
struct VoxelPlace {
  AxisPlace<T> at[3];

  VoxelPlace(const WarpShape& s, const T* const* u, int64_t z, int64_t y, int64_t x) {
    const int64_t from[3] = {z, y, x};
    for (int a = 0; a < 3; ++a) at[a] = place_on_axis<T>((T)from[a] + u[a][x], (int32_t)s.size[a], s.border);
  }

  // Offset and weight of corner k of 8.
  int64_t offset(const int64_t* stride, int k) const {
    int64_t o = 0;
    for (int a = 0; a < 3; ++a) o += stride[a] * (at[a].low + (k >> (2 - a) & 1) * at[a].step);
    return o;
  }
  T weight(int k) const {
    T w = 1;
    for (int a = 0; a < 3; ++a) w *= k >> (2 - a) & 1 ? at[a].fraction : 1 - at[a].fraction;
    return w;
  }
  T mask() const { return at[0].mask * at[1].mask * at[2].mask; }
};

// dx [B, C, *S] contiguous: every channel is scattered by one thread, voxel after voxel.
template <class T>
void image_gradient(const WarpPlan<T>& plan, const T* grad, const T* control, T* dx) {
  const WarpShape& s = plan.s;
  const int64_t n = s.size[2], plane = s.size[0] * s.size[1] * n;
  const int64_t stride[3] = {s.size[1] * n, n, 1};
  torch::stable::parallel_for(0, s.batch * s.channels, grain(50 * plane), [&](int64_t begin, int64_t end) {
    RowDisplacement<T> walker(plan, control);
    for (int64_t i = begin; i < end; ++i)
      for (int64_t line = 0; line < s.size[0] * s.size[1]; ++line) {
        const int64_t z = line / s.size[1], y = line % s.size[1];
        const T* const* u = walker.row(i / s.channels, z, y);
        const T* g = grad + i * plane + line * n;
        T* to = dx + i * plane;
        for (int64_t x = 0; x < n; ++x) {
          if (s.nearest) {
            const int32_t kz = nearest_on_axis<T>((T)z + u[0][x], (int32_t)s.size[0], s.border);
            const int32_t ky = nearest_on_axis<T>((T)y + u[1][x], (int32_t)s.size[1], s.border);
            const int32_t kx = nearest_on_axis<T>((T)x + u[2][x], (int32_t)n, s.border);
            if (kz >= 0 && ky >= 0 && kx >= 0) to[kz * stride[0] + ky * stride[1] + kx] += g[x];
            continue;
          }
          const VoxelPlace<T> p(s, u, z, y, x);
          const T value = g[x] * p.mask();
          for (int k = 0; k < 8; ++k) to[p.offset(stride, k)] += value * p.weight(k);
        }
      }
  });
}

// Derivatives of the loss by the displacement of one voxel, added to d[0..2], for one channel.
template <class T>
void add_displacement_gradient(const VoxelPlace<T>& p, const int64_t* stride, const T* x, T grad, T fill, T* d) {
  T corner[8], value = 0;
  for (int k = 0; k < 8; ++k) {
    corner[k] = x[p.offset(stride, k)];
    value += corner[k] * p.weight(k);
  }
  for (int a = 0; a < 3; ++a) {
    T slope = 0, others = 1;
    for (int k = 0; k < 8; ++k) {
      T w = k >> (2 - a) & 1 ? (T)1 : (T)-1;
      for (int o = 0; o < 3; ++o)
        if (o != a) w *= k >> (2 - o) & 1 ? p.at[o].fraction : 1 - p.at[o].fraction;
      slope += w * corner[k];
    }
    for (int o = 0; o < 3; ++o)
      if (o != a) others *= p.at[o].mask;
    d[a] += grad * (p.mask() * p.at[a].inside * slope + p.at[a].dmask * others * (value - fill));
  }
}

// out[g] += w * value over the four control points of voxel p, `step` apart.
template <class T>
void spread_to_control(const AxisWeights& w, int64_t size, int64_t points, int64_t p, T value, int64_t step, T* out) {
  for (int j = 0; j < 4; ++j) out[control_at(w.first[p] + j, (int32_t)points) * step] += (T)w.weight[j * size + p] * value;
}

// One plane (b, z) contracted to [d, Gy, Gx].
template <class T>
void plane_gradient(const WarpPlan<T>& plan, RowDisplacement<T>& walker, const T* grad, const T* x, T fill, int64_t b, int64_t z,
                    T* out) {
  const WarpShape& s = plan.s;
  const int64_t n = s.size[2], plane = s.size[0] * s.size[1] * n, gx = s.points[2], gy = s.points[1];
  std::vector<T> line(3 * gx);
  for (int64_t y = 0; y < s.size[1]; ++y) {
    const T* const* u = walker.row(b, z, y);
    line.assign(3 * gx, 0);
    for (int64_t v = 0; v < n; ++v) {
      const VoxelPlace<T> p(s, u, z, y, v);
      T d[3] = {0, 0, 0};
      for (int64_t c = 0; c < s.channels; ++c)
        add_displacement_gradient<T>(p, s.stride, x + b * s.batch_stride + c * s.channel_stride,
                                     grad[(b * s.channels + c) * plane + (z * s.size[1] + y) * n + v], fill, d);
      for (int a = 0; a < 3; ++a) spread_to_control<T>(plan.axis[2], n, gx, v, d[a], 1, line.data() + a * gx);
    }
    for (int64_t a = 3 - s.dims; a < 3; ++a)
      for (int64_t g = 0; g < gx; ++g)
        spread_to_control<T>(plan.axis[1], s.size[1], gy, y, line[a * gx + g], gx, out + (a - 3 + s.dims) * gy * gx + g);
  }
}

template <class T>
void control_gradient(const WarpPlan<T>& plan, const T* grad, const T* x, const T* control, T fill, bool shared, T* dcontrol) {
  const WarpShape& s = plan.s;
  const int64_t flat = s.points[1] * s.points[2], count = s.dims * flat, depth = s.size[0], gz = s.points[0];
  std::vector<T> planes(s.batch * depth * count, 0);
  torch::stable::parallel_for(0, s.batch * depth, 1, [&](int64_t begin, int64_t end) {
    RowDisplacement<T> walker(plan, control);
    for (int64_t i = begin; i < end; ++i)
      plane_gradient<T>(plan, walker, grad, x, fill, i / depth, i % depth, planes.data() + i * count);
  });
  for (int64_t i = 0; i < s.batch * depth; ++i)
    for (int64_t k = 0; k < count; ++k) {
      T* to = dcontrol + (shared ? 0 : i / depth * count * gz) + (k / flat) * gz * flat + k % flat;
      if (s.dims == 2) *to += planes[i * count + k];
      else spread_to_control<T>(plan.axis[0], depth, gz, i % depth, planes[i * count + k], flat, to);
    }
}

template <class T>
void backward(const WarpShape& s, const Tensor& grad, const Tensor& x, const Tensor& control, const Floats& origin,
              const Floats& spacing, T fill, bool need_x, bool need_control, Tensor& dx, Tensor& dcontrol) {
  const WarpPlan<T> plan(s, origin, spacing);
  if (need_x) image_gradient<T>(plan, grad.const_data_ptr<T>(), control.const_data_ptr<T>(), dx.mutable_data_ptr<T>());
  if (need_control && !s.nearest)
    control_gradient<T>(plan, grad.const_data_ptr<T>(), x.const_data_ptr<T>(), control.const_data_ptr<T>(), fill,
                        s.control_stride == 0, dcontrol.mutable_data_ptr<T>());
}

std::tuple<Tensor, Tensor> bspline_warp_backward(const Tensor& grad_in, const Tensor& x_in, const Tensor& control_in, Floats origin,
                                                 Floats spacing, bool nearest, bool border, double fill, bool need_x,
                                                 bool need_control) {
  const char* op = "bspline_warp_backward";
  const ScalarType type = control_in.scalar_type();
  require(full_shape(grad_in) == full_shape(x_in), op, "grad must have the shape of x");
  const Tensor x = as_type(x_in, type);
  const WarpShape s = check_bspline_warp(op, x, control_in, origin, spacing, nearest, border);
  const Tensor grad = torch::stable::contiguous(as_type(grad_in, type)), control = torch::stable::contiguous(control_in);
  Tensor dx = zeros_if(need_x, x), dcontrol = zeros_if(need_control, control);
  if (type == ScalarType::Double)
    backward<double>(s, grad, x, control, origin, spacing, fill, need_x, need_control, dx, dcontrol);
  else
    backward<float>(s, grad, x, control, origin, spacing, (float)fill, need_x, need_control, dx, dcontrol);
  note_backend(op, type == ScalarType::Double ? "cpu:generic64" : "cpu:generic");
  return {as_type(dx, x_in.scalar_type()), dcontrol};
}

}  // namespace
}  // namespace medseg::cpu

STABLE_TORCH_LIBRARY_IMPL(medseg, CPU, m) {
  m.impl("bspline_warp_backward", TORCH_BOX(&medseg::cpu::bspline_warp_backward));
}
