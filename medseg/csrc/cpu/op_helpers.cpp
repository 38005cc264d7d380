// Name of the backend and check of an index.
#include "op_helpers.h"

#include <cstring>

#include "isa.h"

namespace medseg::cpu {

const char* backend_name(ScalarType type) {
  if (type == ScalarType::Double) return "cpu:generic64";
  const char* isa = float_isa();
  return std::strcmp(isa, "avx512") == 0 ? "cpu:avx512" : std::strcmp(isa, "avx2") == 0 ? "cpu:avx2" : "cpu:generic";
}

void check_index(const char* op, const Tensor& index, int64_t batch, int64_t queries, int64_t keys) {
  require(index.scalar_type() == ScalarType::Int && index.dim() == 2 && index.size(0) == batch &&
              index.size(1) == queries && index.is_contiguous(), op, "index must be contiguous int32 [B, M]");
  const int32_t* p = index.const_data_ptr<int32_t>();
  for (int64_t i = 0; i < batch * queries; ++i)
    require(p[i] >= 0 && p[i] < keys, op, "index " + std::to_string(p[i]) + " is outside 0.." + std::to_string(keys - 1));
}

}  // namespace medseg::cpu
