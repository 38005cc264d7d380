// Portable row loops in float32.
#pragma GCC optimize("fp-contract=off")
#include <cstdint>
#define MS_T float
#define MS_INT int32_t
#define MS_LANES 4
#define MS_TABLE quadtree_generic
#define MS_NAME "generic"
#include "square_root_portable.h"
#include "quadtree_rows.inc"
