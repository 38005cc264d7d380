// medseg::geodesic_distance on the CPU. Rules: medseg/ops/geodesic_distance.py.
#include "../common/last_backend.h"
#include "geodesic_sweep.h"
#include "kernel_tables.h"
#include "op_helpers.h"

namespace medseg::cpu {
namespace {

// Below this number of voxels in a plane the threads work on different volumes, above it on different rows of each plane.
constexpr int64_t kSmallPlane = 16384;

template <class T>
void run_geodesic(const GeodesicChoice& choice, const Tensor& image, const Tensor& seeds, Tensor& out) {
  const int64_t batch = seeds.size(0), sets = seeds.size(1);
  const int64_t voxels = choice.size[0] * choice.size[1] * choice.size[2];
  const T* images = image.const_data_ptr<T>();
  const bool* seed = seeds.const_data_ptr<bool>();
  T* distance = out.mutable_data_ptr<T>();
  const auto run = [&](int64_t b, int64_t first, int64_t last) {
    GeodesicSweep<T> sweep(choice, geodesic_table<T>(), image);
    sweep.set_image(images + b * choice.channels * voxels, voxels);
    for (int64_t k = first; k < last; ++k)
      sweep.run(seed + (b * sets + k) * voxels, distance + (b * sets + k) * voxels);
  };
  const int64_t widest = choice.size[1] * std::max(choice.size[0], choice.size[2]);
  if (choice.size[0] == 1 || widest < kSmallPlane)
    torch::stable::parallel_for(0, batch * sets, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end;) {
        const int64_t b = i / sets, last = std::min(end - b * sets, sets);
        run(b, i % sets, last);
        i = b * sets + last;
      }
    });
  else
    for (int64_t b = 0; b < batch; ++b) run(b, 0, sets);
}

Tensor geodesic_distance(const Tensor& image_in, const Tensor& seeds_in, std::vector<double> spacing, double weight,
                         int64_t cost, int64_t sweeps, double limit) {
  const char* op = "geodesic_distance";
  const ScalarType type = image_in.scalar_type();
  const GeodesicChoice choice = check_geodesic_distance(op, image_in, seeds_in, spacing, weight, cost, sweeps, limit);
  const Tensor image = torch::stable::contiguous(image_in), seeds = torch::stable::contiguous(seeds_in);
  Tensor out = torch::stable::new_empty(image, full_shape(seeds));
  if (type == ScalarType::Double) run_geodesic<double>(choice, image, seeds, out);
  else run_geodesic<float>(choice, image, seeds, out);
  note_backend(op, backend_name(type));
  return out;
}

}  // namespace
}  // namespace medseg::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(medseg, m) {
  m.def("geodesic_distance(Tensor image, Tensor seeds, float[] spacing, float weight, int cost, int sweeps, float limit) "
        "-> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(medseg, CPU, m) { m.impl("geodesic_distance", TORCH_BOX(&medseg::cpu::geodesic_distance)); }
