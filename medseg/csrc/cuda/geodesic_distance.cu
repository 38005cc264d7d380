// Launcher of medseg::geodesic_distance. Rules: medseg/ops/geodesic_distance.py.
#include "../common/geodesic_inputs.h"
#include "../common/last_backend.h"
#include "run_geodesic_distance.cuh"
#include "workspace.h"

namespace medseg::cuda {
namespace {

Tensor geodesic_distance(const Tensor& image_in, const Tensor& seeds_in, std::vector<double> spacing, double weight,
                         int64_t cost, int64_t sweeps, double limit) {
  const char* op = "geodesic_distance";
  const GeodesicChoice choice = check_geodesic_distance(op, image_in, seeds_in, spacing, weight, cost, sweeps, limit);
  const Place place(image_in);
  const Tensor image = torch::stable::contiguous(image_in), seeds = torch::stable::contiguous(seeds_in);
  Tensor out = torch::stable::new_empty(image, full_shape(seeds));
  const int64_t batch = seeds.size(0), sets = seeds.size(1);
  Workspace memory(image, place.stream);
  if (image.scalar_type() == ScalarType::Double)
    run_geodesic_distance<double>(memory, place.stream, choice, batch, sets, image.const_data_ptr<double>(),
                                  seeds.const_data_ptr<bool>(), out.mutable_data_ptr<double>());
  else
    run_geodesic_distance<float>(memory, place.stream, choice, batch, sets, image.const_data_ptr<float>(),
                                 seeds.const_data_ptr<bool>(), out.mutable_data_ptr<float>());
  STD_CUDA_KERNEL_LAUNCH_CHECK();
  note_backend(op, "cuda");
  return out;
}

}  // namespace
}  // namespace medseg::cuda

STABLE_TORCH_LIBRARY_IMPL(medseg, CUDA, m) { m.impl("geodesic_distance", TORCH_BOX(&medseg::cuda::geodesic_distance)); }
