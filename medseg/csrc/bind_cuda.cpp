// What Python asks the CUDA library: the last backend and the architectures it was built for. Ops register in cuda/*.cu.
#include "common/last_backend.h"

MS_DEFINE_LAST_BACKEND(medseg_cuda_last_backend)

MS_EXPORT const char* medseg_cuda_archs() { return MEDSEG_ARCHS; }
