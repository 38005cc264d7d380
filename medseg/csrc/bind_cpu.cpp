// Schemas of all ops and their CPU implementations.
#include "common/last_backend.h"
#include "cpu/ops.h"

using namespace medseg::cpu;

STABLE_TORCH_LIBRARY(medseg, m) {
  m.def("score_argmax(Tensor keys, Tensor queries) -> (Tensor index, Tensor score)");
  m.def("score_argmax_backward(Tensor grad, Tensor keys, Tensor queries, Tensor index) -> (Tensor dkeys, Tensor dqueries)");
  m.def("patch_select(Tensor x, Tensor keys, Tensor queries, int patch, float slope=0.1, bool max_grad=True) -> "
        "(Tensor out, Tensor index)");
  m.def("patch_select_backward(Tensor grad, Tensor x, Tensor keys, Tensor queries, Tensor index, int patch, float slope, "
        "bool max_grad, bool need_x, bool need_scores) -> (Tensor dx, Tensor dkeys, Tensor dqueries)");
}

STABLE_TORCH_LIBRARY_IMPL(medseg, CPU, m) {
  m.impl("score_argmax", TORCH_BOX(&score_argmax));
  m.impl("score_argmax_backward", TORCH_BOX(&score_argmax_backward));
  m.impl("patch_select", TORCH_BOX(&patch_select));
  m.impl("patch_select_backward", TORCH_BOX(&patch_select_backward));
}

MS_DEFINE_LAST_BACKEND(medseg_cpu_last_backend)
