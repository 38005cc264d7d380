// A record of what ran last for each op, so that a test can prove that compiled code ran. Each shared object (CPU, CUDA) keeps
// its own record with a time stamp, and Python takes the newer one.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>

#include "export.h"

namespace medseg {

struct BackendRecord {
  const char* op;
  std::atomic<const char*> backend;
  std::atomic<int64_t> stamp_ns;
};

inline BackendRecord backend_records[] = {{"score_argmax", {nullptr}, {0}},
                                          {"score_argmax_backward", {nullptr}, {0}},
                                          {"patch_select", {nullptr}, {0}},
                                          {"patch_select_backward", {nullptr}, {0}},
                                          {"patch_select_slots", {nullptr}, {0}},
                                          {"patch_select_slots_backward", {nullptr}, {0}},
                                          {"patch_select_shared", {nullptr}, {0}},
                                          {"patch_select_shared_backward", {nullptr}, {0}},
                                          {"patch_gather", {nullptr}, {0}},
                                          {"patch_scatter", {nullptr}, {0}},
                                          {"quadtree_plan", {nullptr}, {0}},
                                          {"quadtree_select", {nullptr}, {0}},
                                          {"block_conv", {nullptr}, {0}},
                                          {"block_conv_backward", {nullptr}, {0}},
                                          {"quadtree_conv", {nullptr}, {0}},
                                          {"quadtree_conv_backward", {nullptr}, {0}},
                                          {"bspline_warp", {nullptr}, {0}},
                                          {"bspline_warp_backward", {nullptr}, {0}},
                                          {"geodesic_distance", {nullptr}, {0}},
                                          {"local_histogram", {nullptr}, {0}},
                                          {"local_histogram_backward", {nullptr}, {0}},
                                          {"local_glcm", {nullptr}, {0}},
                                          {"local_glcm_backward", {nullptr}, {0}}};

inline BackendRecord* backend_record(const char* op) {
  for (BackendRecord& r : backend_records)
    if (std::strcmp(r.op, op) == 0) return &r;
  return nullptr;
}

// `backend` must stay valid until the process ends (a literal).
inline void note_backend(const char* op, const char* backend) {
  BackendRecord* r = backend_record(op);
  r->backend = backend;
  r->stamp_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(
                    std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace medseg

// Defines the exported reader in the one file of a shared object that expands it.
#define MS_DEFINE_LAST_BACKEND(function)                                 \
  MS_EXPORT const char* function(const char* op, int64_t* stamp_ns) {    \
    medseg::BackendRecord* r = medseg::backend_record(op);               \
    *stamp_ns = r == nullptr ? 0 : r->stamp_ns.load();                   \
    return r == nullptr ? nullptr : r->backend.load();                   \
  }
