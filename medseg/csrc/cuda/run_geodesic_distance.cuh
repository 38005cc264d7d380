// Sequence of kernels behind geodesic_distance: in every sweep the planes along z, y and x, forwards and backwards.
#pragma once
#include <vector>

#include "geodesic_distance.cuh"

namespace medseg {

// Smaller planes are visited by one block a map, with a barrier after each plane; larger planes by one launch each.
constexpr int64_t kOneBlockPlane = 2048;

template <class T, class Stream>
class GeodesicRun {
 public:
  GeodesicRun(Stream stream, const GeodesicChoice& choice, int64_t batch, int64_t sets)
      : stream_(stream), c_(choice), batch_(batch), sets_(sets) {}

  // Both directions along an axis.
  void sweep(const GeodesicGrid& grid, const T* image, T* distance, const int* active, int* fell) {
    if (grid.planes < 2) return;
    GeodesicWay<T> way{grid, grid.planes * grid.rows * grid.n, batch_ * sets_, sets_, c_.channels, 0, 1, 1, {},
                       (T)c_.weight};
    geodesic_steps(c_, grid, way.step);
    for (const int64_t direction : {1, -1}) {
      way.direction = direction;
      way.first = direction > 0 ? 1 : grid.planes - 2;
      const int64_t voxels = grid.rows * grid.n;
      const bool alone = voxels <= kOneBlockPlane;
      way.planes = alone ? grid.planes - 1 : 1;
      const dim3 blocks(alone ? 1 : blocks_for(voxels), clamp_grid(way.maps));
      for (int64_t done = 0; done < grid.planes - 1; done += way.planes, way.first += way.planes * direction)
        if (c_.harmonic)
          MS_LAUNCH((geodesic_planes_kernel<T, true>), blocks, dim3(kThreads), stream_, image, distance, way, active, fell);
        else
          MS_LAUNCH((geodesic_planes_kernel<T, false>), blocks, dim3(kThreads), stream_, image, distance, way, active, fell);
    }
  }

  void turn(const T* in, int64_t matrices, int64_t rows, int64_t columns, T* out) {
    const int64_t tiles = matrices * ((rows + 31) / 32) * ((columns + 31) / 32);
    MS_LAUNCH((turn_kernel<T>), dim3(clamp_grid(tiles)), dim3(kThreads), stream_, in, matrices, rows, columns, out);
  }

 private:
  Stream stream_;
  const GeodesicChoice& c_;
  int64_t batch_, sets_;
};

// image [B, C, *S], seeds and out [B, K, *S], all contiguous. Without a number of sweeps the host reads after each sweep
// which maps have changed, and stops when none has: later sweeps would not change the maps either.
template <class T, class Workspace, class Stream>
void run_geodesic_distance(Workspace& memory, Stream stream, const GeodesicChoice& c, int64_t batch, int64_t sets, const T* image,
                           const bool* seeds, T* out) {
  const int64_t z = c.size[0], y = c.size[1], x = c.size[2], voxels = z * y * x, maps = batch * sets;
  if (maps == 0) return;
  GeodesicRun<T, Stream> run(stream, c, batch, sets);
  T* turned_image = memory.template get<T>(batch * c.channels * voxels);
  T* turned = memory.template get<T>(maps * voxels);
  int* flags = memory.template get<int>(2 * maps);
  run.turn(image, batch * c.channels, z * y, x, turned_image);
  MS_LAUNCH((geodesic_seeds_kernel<T>), dim3(blocks_for(maps * voxels)), dim3(kThreads), stream, seeds, (T)c.limit, maps * voxels, out);
  const GeodesicGrid along_z{z, y * x, y, x, x, {0, 1, 2}}, along_y{y, x, z, y * x, x, {1, 0, 2}}, along_x{x, z * y, z, y, y, {2, 0, 1}};
  std::vector<int> changed(maps, 1);
  for (int64_t done = 0; c.sweeps == 0 || done < c.sweeps; ++done) {
    const int* active = c.sweeps == 0 && done > 0 ? flags + (done + 1) % 2 * maps : nullptr;
    int* fell = c.sweeps == 0 ? flags + done % 2 * maps : nullptr;
    if (fell != nullptr) memory.fill(fell, 0, maps * (int64_t)sizeof(int));
    run.sweep(along_z, image, out, active, fell);
    run.sweep(along_y, image, out, active, fell);
    run.turn(out, maps, z * y, x, turned);
    run.sweep(along_x, turned_image, turned, active, fell);
    run.turn(turned, maps, x, z * y, out);
    if (fell == nullptr) continue;
    memory.read(changed.data(), fell, maps * (int64_t)sizeof(int));
    bool any = false;
    for (const int change : changed) any = any || change != 0;
    if (!any) return;
  }
}

}  // namespace medseg
