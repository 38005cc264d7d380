// Products and sums that nvcc does not contract to one operation with one rounding, for results that must equal those of the CPU
// to the last bit.
#pragma once
#include "launch.cuh"

namespace medseg {

__device__ __forceinline__ float exact_product(float a, float b) { return __fmul_rn(a, b); }
__device__ __forceinline__ double exact_product(double a, double b) { return __dmul_rn(a, b); }
__device__ __forceinline__ float exact_sum(float a, float b) { return __fadd_rn(a, b); }
__device__ __forceinline__ double exact_sum(double a, double b) { return __dadd_rn(a, b); }

}  // namespace medseg
