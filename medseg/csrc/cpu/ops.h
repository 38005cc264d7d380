// The CPU ops. Shapes, rules and formulas: medseg/ops/score_argmax.py and medseg/ops/patch_select.py.
#pragma once
#include "../common/op_inputs.h"

namespace medseg::cpu {

using TensorPair = std::tuple<Tensor, Tensor>;
using TensorTriple = std::tuple<Tensor, Tensor, Tensor>;

TensorPair score_argmax(const Tensor& keys, const Tensor& queries);
TensorPair score_argmax_backward(const Tensor& grad, const Tensor& keys, const Tensor& queries, const Tensor& index);
TensorPair patch_select(const Tensor& x, const Tensor& keys, const Tensor& queries, int64_t patch, double slope,
                        bool max_grad);
TensorTriple patch_select_backward(const Tensor& grad, const Tensor& x, const Tensor& keys, const Tensor& queries,
                                   const Tensor& index, int64_t patch, double slope, bool max_grad, bool need_x,
                                   bool need_scores);

// Items per thread at least, so that waking a thread pays: about 50,000 operations.
inline int64_t grain(int64_t work_per_item) { return work_per_item >= 50000 ? 1 : 50000 / (work_per_item + 1) + 1; }

// Name that last_backend reports for the float32 tables and the float64 one.
const char* backend_name(ScalarType type);

// An index that came from outside must name existing keys.
void check_index(const char* op, const Tensor& index, int64_t batch, int64_t queries, int64_t keys);

}  // namespace medseg::cpu
