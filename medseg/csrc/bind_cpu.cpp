// The library `medseg`, and what Python asks the CPU library: which backend ran last. Every op defines its schema and registers
// its CPU kernel in its own file, cpu/OP.cpp (the gradient often in cpu/OP_backward.cpp); cuda/OP.cu registers the CUDA kernels.
#include <torch/csrc/stable/library.h>

#include "common/last_backend.h"

STABLE_TORCH_LIBRARY(medseg, m) {}

MS_DEFINE_LAST_BACKEND(medseg_cpu_last_backend)
