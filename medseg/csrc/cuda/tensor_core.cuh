// What the tensor-core kernels share: haloes of 16-bit floats in shared memory, and fragments along a raster of pixels.
//
// A fragment takes 16 successive positions of a plane of the halo, across the end of a row. Then a tap also reads 16 successive
// positions, for every width of a tile. The few positions that lie between two rows are computed and not used.
#pragma once
#include "tile_conv.cuh"

namespace medseg {

constexpr int kFragment = 16;
constexpr int kMarginPixels = 16;  // behind the last halo: the last fragment may end there

// Fragments of one plane of a piece, and of a group.
MS_HD int32_t plane_fragments(const Pieces& p) {
  return (p.side[1] * halo_side(p, 2) - (p.taps[2] - 1) + kFragment - 1) / kFragment;
}

MS_HD int32_t group_fragments(const Pieces& p) { return p.group * p.side[0] * plane_fragments(p); }

// First position of fragment f in the group's haloes.
MS_HD int32_t fragment_start(const Pieces& p, int32_t f) {
  const int32_t plane = f / plane_fragments(p), halo_plane = halo_side(p, 1) * halo_side(p, 2);
  return plane / p.side[0] * halo_volume(p) + plane % p.side[0] * halo_plane + f % plane_fragments(p) * kFragment;
}

// Pixel i of fragment f: its position inside its piece, at[2] may lie beyond the piece's side. Returns the piece.
MS_HD int32_t fragment_pixel(const Pieces& p, int32_t f, int32_t i, int32_t at[3]) {
  const int32_t plane = f / plane_fragments(p), inner = f % plane_fragments(p) * kFragment + i;
  at[0] = plane % p.side[0];
  at[1] = inner / halo_side(p, 2);
  at[2] = inner % halo_side(p, 2);
  return plane / p.side[0];
}

MS_HD bool inside_piece(const Pieces& p, const int32_t at[3]) { return at[1] < p.side[1] && at[2] < p.side[2]; }

// Copies 16 channels from `first` on into [position][16]. `whole`: the channels of a position are adjacent, aligned to 16 bytes
// and a multiple of 8 in number.
template <class T>
__device__ void load_halo_16(const TileSource<T>& from, bool whole, bool channels_first, const int64_t* place, int32_t halo,
                             int64_t first, int64_t channels, T* held) {
  if (whole) {
    for (int32_t t = threadIdx.x; t < halo * 2; t += blockDim.x) {
      const int64_t at = place[t / 2], c = first + t % 2 * 8;
      uint4 eight = make_uint4(0, 0, 0, 0);
      if (at != kZero && c < channels)
        eight = *vector_pointer<const uint4>(at < 0 ? from.store + (-2 - at) + c : from.view.data + at + c);
      *vector_pointer<uint4>(held + t * 8) = eight;
    }
    return;
  }
  for (int32_t t = threadIdx.x; t < halo * kFragment; t += blockDim.x) {
    const int32_t q = channels_first ? t % halo : t / kFragment, c = channels_first ? t / halo : t % kFragment;
    held[q * kFragment + c] = first + c < channels ? value_at(from, place[q], first + c) : narrowed<T>(0.f);
  }
}

// Host: whether load_halo_16 may copy eight channels at a time.
template <class T>
bool whole_channels(const TileSource<T>& s, int64_t channels) {
  bool whole = channels % 8 == 0 && s.view.stride[1] == 1 && reinterpret_cast<uintptr_t>(s.view.data) % 16 == 0 &&
               reinterpret_cast<uintptr_t>(s.store) % 16 == 0;
  for (int i : {0, 2, 3, 4}) whole = whole && s.view.stride[i] % 8 == 0;
  return whole;
}

}  // namespace medseg
