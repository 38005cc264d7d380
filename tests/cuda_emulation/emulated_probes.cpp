// Test only: small kernels that show whether the emulation itself computes what CUDA computes.
#include "emulated.h"
#include "emulated_fragments.h"
#include "launch.cuh"

namespace {

// Sums over each warp by shuffles, by exchange across and by moving down.
__global__ void warp_sums_kernel(const float* x, float* across, float* down, float* first) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  float a = x[i], d = x[i];
  for (int step = 16; step > 0; step /= 2) {
    a += __shfl_xor_sync(0xffffffffu, a, step);
    d += __shfl_down_sync(0xffffffffu, d, step);
  }
  across[i] = a;
  if (threadIdx.x % 32 == 0) down[i / 32] = d;
  first[i] = __shfl_sync(0xffffffffu, x[i], 0);
}

__global__ void positive_lanes_kernel(const float* x, unsigned* votes) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned lanes = __ballot_sync(0xffffffffu, x[i] > 0);
  if (threadIdx.x % 32 == 0) votes[i / 32] = lanes;
}

// Each block reverses its piece by way of dynamic shared memory.
__global__ void reverse_kernel(const float* x, float* out) {
  MS_DYNAMIC_SHARED(memory);
  float* held = reinterpret_cast<float*>(memory);
  const int n = blockDim.x, at = blockIdx.x * n;
  held[threadIdx.x] = x[at + threadIdx.x];
  __syncthreads();
  out[at + threadIdx.x] = held[n - 1 - threadIdx.x];
}

// c = a @ b, one warp, 16-bit factors; a by columns if COLUMNS.
template <class T, bool COLUMNS>
__global__ void matrix_product_kernel(const T* a, const T* b, float* c) {
  using namespace nvcuda;
  __shared__ __align__(32) T left[256];
  __shared__ __align__(32) T right[256];
  __shared__ __align__(32) float result[16 * 20];
  const int lane = threadIdx.x;
  for (int i = lane; i < 256; i += 32) {
    left[COLUMNS ? i % 16 * 16 + i / 16 : i] = a[i];
    right[i] = b[i];
  }
  __syncwarp();
  wmma::fragment<wmma::matrix_a, 16, 16, 16, T, std::conditional_t<COLUMNS, wmma::col_major, wmma::row_major>> fa;
  wmma::fragment<wmma::matrix_b, 16, 16, 16, T, wmma::row_major> fb;
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> fc;
  wmma::fill_fragment(fc, 0.f);
  wmma::load_matrix_sync(fa, left, 16);
  wmma::load_matrix_sync(fb, right, 16);
  wmma::mma_sync(fc, fa, fb, fc);
  wmma::store_matrix_sync(result, fc, 20, wmma::mem_row_major);
  __syncwarp();
  for (int i = lane; i < 256; i += 32) c[i] = result[i / 16 * 20 + i % 16];
}

__global__ void divergent_kernel(float* out) {
  if (threadIdx.x < 7)
    __syncthreads();
  else
    __syncthreads();
  out[threadIdx.x] = 1;
}

__global__ void misaligned_kernel(const float* x, float* out) { *out = medseg::vector_pointer<const float4>(x)->y; }

template <class T>
void product(int64_t columns, const T* a, const T* b, float* c) {
  if (columns)
    MS_LAUNCH((matrix_product_kernel<T, true>), dim3(1), dim3(32), 0, a, b, c);
  else
    MS_LAUNCH((matrix_product_kernel<T, false>), dim3(1), dim3(32), 0, a, b, c);
}

}  // namespace

API void emu_probe_warp_sums(const float* x, float* across, float* down, float* first, int64_t blocks) {
  MS_LAUNCH((warp_sums_kernel), dim3((unsigned)blocks), dim3(64), 0, x, across, down, first);
}

API void emu_probe_ballot(const float* x, unsigned* votes, int64_t blocks) {
  MS_LAUNCH((positive_lanes_kernel), dim3((unsigned)blocks), dim3(64), 0, x, votes);
}

API void emu_probe_reverse(const float* x, float* out, int64_t blocks) {
  MS_LAUNCH_SHARED((reverse_kernel), dim3((unsigned)blocks), dim3(64), 64 * sizeof(float), 0, x, out);
}

API void emu_probe_product_bf16(int64_t columns, const __nv_bfloat16* a, const __nv_bfloat16* b, float* c) { product(columns, a, b, c); }

API void emu_probe_product_f16(int64_t columns, const __half* a, const __half* b, float* c) { product(columns, a, b, c); }

API void emu_probe_round(const float* x, int64_t count, __nv_bfloat16* bfloats, __half* halves, float* back) {
  for (int64_t i = 0; i < count; ++i) {
    bfloats[i] = __float2bfloat16(x[i]);
    halves[i] = __float2half(x[i]);
    back[i] = __half2float(halves[i]);
  }
}

// Both end the program with a message.
API void emu_probe_divergence(float* out) { MS_LAUNCH((divergent_kernel), dim3(1), dim3(32), 0, out); }

API void emu_probe_misalignment(const float* x, float* out) { MS_LAUNCH((misaligned_kernel), dim3(1), dim3(1), 0, x, out); }

MS_SANITIZER_CASE(probes) {
  const std::vector<float> x = medseg_emulation::waves(128);
  std::vector<float> across(128), down(4), first(128), out(128);
  emu_probe_warp_sums(x.data(), across.data(), down.data(), first.data(), 2);
  emu_probe_reverse(x.data(), out.data(), 2);
  std::vector<__nv_bfloat16> a(256), b(256);
  for (size_t i = 0; i < 256; ++i) a[i] = b[i] = __float2bfloat16(x[i % 128]);
  std::vector<float> c(256);
  emu_probe_product_bf16(1, a.data(), b.data(), c.data());
  return medseg_emulation::sum_of(across) + medseg_emulation::sum_of(out) + medseg_emulation::sum_of(c);
}
