// Choice of the float32 kernel tables at run time.
#pragma once
#include "conv_kernels.h"
#include "score_kernels.h"

namespace medseg {

// Tables named by MEDSEG_ISA, or the best ones this machine runs. Throw one line for a name that is unknown or that
// the machine does not support.
const KernelTable<float>& float_kernels();
const ConvTable<float>& float_conv_kernels();

// The float64 kernels exist in one portable form.
inline const KernelTable<double>& double_kernels() { return kernels_generic64; }

template <class T>
const KernelTable<T>& kernels();
template <>
inline const KernelTable<float>& kernels<float>() { return float_kernels(); }
template <>
inline const KernelTable<double>& kernels<double>() { return double_kernels(); }

template <class T>
const ConvTable<T>& conv_kernels();
template <>
inline const ConvTable<float>& conv_kernels<float>() { return float_conv_kernels(); }
template <>
inline const ConvTable<double>& conv_kernels<double>() { return conv_generic64; }

}  // namespace medseg
