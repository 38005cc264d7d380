// The kernels that block_conv and quadtree_conv share, for every dtype.
#define MS_TILE_CONV_DEFINED
#include "tile_conv_instances.h"

namespace medseg {
MS_TILE_CONV_INSTANCES()
}  // namespace medseg
