// Portable float32 convolution kernels.
#include <cstdint>
#define MS_T float
#define MS_INT int32_t
#define MS_LANES 4
#define MS_ROWS 6
#define MS_LONG_ROWS 12
#define MS_TABLE conv_generic
#define MS_NAME "generic"
#include "conv_kernels.inc"
