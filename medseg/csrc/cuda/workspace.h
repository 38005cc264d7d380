// Device, stream and device memory of a launcher (stable ABI).
#pragma once
#include <cuda_runtime.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/macros.h>

#include "../common/op_inputs.h"

namespace medseg::cuda {

// Makes the device of a tensor the current one, and holds its stream.
struct Place {
  torch::stable::accelerator::DeviceGuard guard;
  cudaStream_t stream;

  explicit Place(const Tensor& t) : guard(t.get_device_index()) {
    void* s = nullptr;
    TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(t.get_device_index(), &s));
    stream = static_cast<cudaStream_t>(s);
  }
};

// Scratch memory of torch's caching allocator: freed on return, reused in stream order.
class Workspace {
 public:
  Workspace(const Tensor& like, cudaStream_t stream) : like_(like), stream_(stream) {}

  template <class T>
  T* get(int64_t count) {
    held_.push_back(torch::stable::new_empty(like_, {count * (int64_t)sizeof(T)}, ScalarType::Byte));
    return static_cast<T*>(held_.back().data_ptr());
  }

  // Another workspace; its memory is returned at the end of its scope.
  Workspace fresh() const { return Workspace(like_, stream_); }

  void fill(void* pointer, int byte, int64_t bytes) { STD_CUDA_CHECK(cudaMemsetAsync(pointer, byte, bytes, stream_)); }

  // Copies to the host, and waits for it.
  void read(void* host, const void* device, int64_t bytes) {
    STD_CUDA_CHECK(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream_));
    STD_CUDA_CHECK(cudaStreamSynchronize(stream_));
  }

 private:
  const Tensor& like_;
  cudaStream_t stream_;
  std::vector<Tensor> held_;
};

}  // namespace medseg::cuda
