// Test only: the atomic operations that the kernels use.
#pragma once

inline int atomicCAS(int* place, int expected, int desired) {
  __atomic_compare_exchange_n(place, &expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  return expected;
}
