// Portable row loops of bspline_warp in float64: the same code as the float32 ones.
#pragma GCC optimize("fp-contract=off")
#include <cstdint>
#define MS_T double
#define MS_TABLE warp_generic64
#define MS_NAME "generic64"
#include "warp_rows.inc"
