// Portable row loops in float64.
#pragma GCC optimize("fp-contract=off")
#include <cstdint>
#define MS_T double
#define MS_INT int64_t
#define MS_LANES 2
#define MS_TABLE quadtree_generic64
#define MS_NAME "generic64"
#include "square_root_portable.h"
#include "quadtree_rows.inc"
