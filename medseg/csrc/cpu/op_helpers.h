// What the CPU ops share: how much work a thread gets, the name of the backend, the check of an index, result types.
#pragma once
#include "../common/op_inputs.h"

namespace medseg::cpu {

using TensorPair = std::tuple<Tensor, Tensor>;
using TensorTriple = std::tuple<Tensor, Tensor, Tensor>;

// Smallest number of items for one thread, so that starting a thread pays off: about 50,000 operations.
inline int64_t grain(int64_t work_per_item) { return work_per_item >= 50000 ? 1 : 50000 / (work_per_item + 1) + 1; }

// What last_backend reports: the instruction set of the float32 kernels, or the portable kernels for float64.
const char* backend_name(ScalarType type);

// Throws unless `index` is contiguous int32 [batch, queries] with values from 0 to keys - 1.
void check_index(const char* op, const Tensor& index, int64_t batch, int64_t queries, int64_t keys);

}  // namespace medseg::cpu
