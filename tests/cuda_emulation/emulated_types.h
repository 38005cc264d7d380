// Test only, part of cuda_emulation.h: the 16-bit floats and the vectors that the kernels use.
#pragma once

struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};

inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }

// Not contracted: the emulation is compiled without instructions that round once for two operations.
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }

// Upper half of a float32, rounded to nearest even.
struct __nv_bfloat16 {
  uint16_t bits;
};

struct __half {
  uint16_t bits;
};

inline float __bfloat162float(__nv_bfloat16 value) {
  const uint32_t bits = (uint32_t)value.bits << 16;
  float result;
  std::memcpy(&result, &bits, 4);
  return result;
}

inline __nv_bfloat16 __float2bfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if (value != value) return {0x7fff};
  return {(uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

inline float __half2float(__half value) {
  const int exponent = value.bits >> 10 & 31, fraction = value.bits & 1023;
  const float sign = value.bits >> 15 ? -1.f : 1.f;
  if (exponent == 31) return fraction ? std::nanf("") : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp((float)fraction, -24);
  return sign * std::ldexp((float)(fraction + 1024), exponent - 25);
}

// Rounded to nearest even; beyond 65519.99 infinite.
inline __half __float2half(float value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const float size = std::fabs(value);
  if (value != value) return {0x7fff};
  if (size >= 65520.f) return {(uint16_t)(sign | 0x7c00)};
  if (size < 0x1p-14f) return {(uint16_t)(sign | (uint16_t)std::nearbyint(std::ldexp(size, 24)))};
  int exponent;
  const float fraction = std::frexp(size, &exponent);  // in [0.5, 1)
  const int steps = (int)std::nearbyint(std::ldexp(fraction, 11));  // 1024 .. 2048; 2048 carries into the exponent
  return {(uint16_t)(sign | (((exponent + 13) << 10) + steps))};
}
