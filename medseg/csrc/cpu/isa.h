// Choice of the float32 kernel table at run time.
#pragma once
#include "kernel_table.h"

namespace medseg {

// Table named by MEDSEG_ISA, or the best one this machine runs. Throws one line for a name that is unknown or that
// the machine does not support.
const KernelTable<float>& float_kernels();

// The float64 kernels exist in one portable form.
inline const KernelTable<double>& double_kernels() { return kernels_generic64; }

template <class T>
const KernelTable<T>& kernels();
template <>
inline const KernelTable<float>& kernels<float>() { return float_kernels(); }
template <>
inline const KernelTable<double>& kernels<double>() { return double_kernels(); }

}  // namespace medseg
