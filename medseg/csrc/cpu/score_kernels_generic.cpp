// Portable float32 kernels.
#define MS_T float
#define MS_INT int32_t
#define MS_LANES 4
#define MS_ROWS 4
#define MS_VECTORS 2
#define MS_TABLE score_generic
#define MS_NAME "generic"
#include "vector_portable.h"
#include "score_kernels.inc"
