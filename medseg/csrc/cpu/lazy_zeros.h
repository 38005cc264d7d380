// Memory that reads as zero without being written.
#pragma once
#include <cstddef>

namespace medseg::cpu {

// Makes freshly allocated private memory read as zero. A map of which few tiles are written must not cost a pass over the
// whole map: the pages inside are handed back to the system, which supplies zeros when a page is first touched. Only the
// edges that share a page with other data are cleared by hand; so is everything where the system refuses or little is gained.
// Returns whether pages were handed back.
bool lazy_zeros(void* data, size_t bytes);

}  // namespace medseg::cpu
