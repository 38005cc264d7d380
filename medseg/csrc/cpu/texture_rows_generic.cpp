// Portable row loops of the texture ops.
#pragma GCC optimize("fp-contract=off")
#include <cstdint>
#define MS_TABLE texture_generic
#define MS_NAME "generic"
#include "texture_rows.inc"
