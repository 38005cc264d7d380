// Portable float64 kernels: the same code as the float32 ones, used to hold them to the definition.
#define MS_T double
#define MS_INT int64_t
#define MS_LANES 2
#define MS_ROWS 4
#define MS_VECTORS 2
#define MS_TABLE score_generic64
#define MS_NAME "generic64"
#include "vector_portable.h"
#include "score_kernels.inc"
