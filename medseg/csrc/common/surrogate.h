// How the scores of a selection are differentiated: the literal step function's surrogate, weights by softmax, or not at all.
#pragma once
#include <cstdint>

namespace medseg {

constexpr int64_t kSurrogatePaper = 0, kSurrogateSoftmax = 1, kSurrogateNone = 2;

}  // namespace medseg
