// Test only: the atomic operations that the kernels use.
#pragma once

inline int atomicCAS(int* place, int expected, int desired) {
  __atomic_compare_exchange_n(place, &expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  return expected;
}

inline int atomicOr(int* place, int bits) { return __atomic_fetch_or(place, bits, __ATOMIC_SEQ_CST); }

inline unsigned atomicAdd(unsigned* place, unsigned value) { return __atomic_fetch_add(place, value, __ATOMIC_SEQ_CST); }

inline unsigned atomicSub(unsigned* place, unsigned value) { return __atomic_fetch_sub(place, value, __ATOMIC_SEQ_CST); }

inline unsigned long long atomicAdd(unsigned long long* place, unsigned long long value) {
  return __atomic_fetch_add(place, value, __ATOMIC_SEQ_CST);
}

inline unsigned long long atomicMax(unsigned long long* place, unsigned long long value) {
  unsigned long long found = __atomic_load_n(place, __ATOMIC_SEQ_CST);
  while (found < value && !__atomic_compare_exchange_n(place, &found, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
  }
  return found;
}
