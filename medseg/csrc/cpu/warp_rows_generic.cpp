// Portable row loops of bspline_warp in float32.
#pragma GCC optimize("fp-contract=off")
#include <cstdint>
#define MS_T float
#define MS_TABLE warp_generic
#define MS_NAME "generic"
#include "warp_rows.inc"
