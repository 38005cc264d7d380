// Portable float64 convolution kernels: the same code as the float32 ones, used to hold them to the definition.
#include <cstdint>
#define MS_T double
#define MS_INT int64_t
#define MS_LANES 2
#define MS_ROWS 6
#define MS_LONG_ROWS 12
#define MS_TABLE conv_generic64
#define MS_NAME "generic64"
#include "conv_kernels.inc"
