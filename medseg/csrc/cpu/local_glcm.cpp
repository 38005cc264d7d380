// medseg::local_glcm on the CPU. Rules: medseg/ops/local_glcm.py.
#include "../common/glcm_inputs.h"
#include "../common/last_backend.h"
#include "glcm_counts.h"

namespace medseg::cpu {
namespace {

// The feature maps of one strip for all offsets.
template <class T>
class StripFeatures {
 public:
  StripFeatures(const GlcmProblem& g, const TextureTable& table, const LevelMap& m, const EntropyTable& logs, T* out)
      : g_(g), table_(table), m_(m), out_(out), sums_(g.shape), features_(kLinearFeatures * g.shape.size[2]),
        seen_(kStripRows * g.shape.size[2]),
        counter_(g.maps.counted ? g.levels : 0, (int64_t)logs.change[0].size(), logs, g.maps.place[kFLargest] >= 0) {}

  void run(const Strip& strip) {
    const int64_t width = g_.shape.size[2], rows = strip.last - strip.first;
    std::fill(seen_.begin(), seen_.end(), 0);
    for (int64_t map = 0; map < g_.stride(); ++map) std::fill_n(at(map, strip, strip.first), rows * width, (T)0);
    for (size_t a = 0; a < g_.offsets.size(); ++a) {
      const PairRows p(g_.shape, g_.offsets[a]);
      const int64_t first = g_.first(a);
      if (g_.maps.linear) linear(strip, p, first);
      if (g_.maps.counted) counted(strip, p, first);
    }
    if (g_.groups == 1 && g_.offsets.size() > 1) average(strip);
  }

 private:
  T* at(int64_t map, const Strip& strip, int64_t y) {
    return out_ + map * g_.shape.plane() + (strip.z * g_.shape.size[1] + y) * g_.shape.size[2];
  }

  void linear(const Strip& strip, const PairRows& p, int64_t first) {
    const int64_t width = g_.shape.size[2];
    pair_sums(g_.shape, table_, m_, p, strip, false, sums_, [&](int64_t y, const double* sums) {
      table_.feature_row(sums, width, width, features_.data());
      for (int f = 0; f < kLinearFeatures; ++f) {
        if (g_.maps.place[kLinear[f]] < 0) continue;
        T* row = at(first + g_.maps.place[kLinear[f]], strip, y);
        for (int64_t x = 0; x < width; ++x) row[x] += (T)features_[f * width + x];
      }
      int32_t* seen = seen_.data() + (y - strip.first) * width;
      for (int64_t x = 0; x < width; ++x) seen[x] += sums[x] > 0;
    });
  }

  void counted(const Strip& strip, const PairRows& p, int64_t first) {
    const int64_t width = g_.shape.size[2];
    const int64_t* place = g_.maps.place;
    T* row[kFeatures];
    int64_t current = -1;
    const PairCodes codes(g_.shape, m_, p, strip, g_.levels);
    count_pairs(g_.shape, p, strip, codes, counter_, [&](int64_t y, int64_t x, const PairCounter& c) {
      if (y != current) {
        for (int f = 0; f < kFeatures; ++f) row[f] = place[f] < 0 ? nullptr : at(first + place[f], strip, y);
        current = y;
      }
      const double moment = c.second_moment();
      if (row[kFSecondMoment]) row[kFSecondMoment][x] += (T)moment;
      if (row[kFEnergy]) row[kFEnergy][x] += (T)std::sqrt(moment);
      if (row[kFEntropy]) row[kFEntropy][x] += (T)c.entropy();
      if (row[kFLargest]) row[kFLargest][x] += (T)c.largest();
      if (!g_.maps.linear) seen_[(y - strip.first) * width + x] += c.pairs() > 0;
    });
  }

  // Over the offsets that have a pair in the window.
  void average(const Strip& strip) {
    const int64_t n = (strip.last - strip.first) * g_.shape.size[2];
    for (int64_t map = 0; map < g_.maps.count; ++map) {
      T* values = at(map, strip, strip.first);
      for (int64_t i = 0; i < n; ++i) values[i] /= (T)std::max(seen_[i], 1);
    }
  }

  const GlcmProblem& g_;
  const TextureTable& table_;
  const LevelMap& m_;
  T* out_;
  SumRows sums_;
  std::vector<double> features_;
  std::vector<int32_t> seen_;
  PairCounter counter_;
};

template <class T>
void run_glcm(const Tensor& x, const bool* mask, const GlcmProblem& g, Tensor& out) {
  const TextureTable& table = texture_table<T>();
  const int64_t voxels = g.shape.plane(), *r = g.shape.radius;
  const EntropyTable logs(g.maps.counted ? (2 * r[0] + 1) * (2 * r[1] + 1) * (2 * r[2] + 1) : 1);
  for (int64_t map = 0; map < g.shape.maps; ++map) {
    const LevelMap m = level_map<T>(x.const_data_ptr<T>() + map * voxels, mask ? mask + map * voxels : nullptr, g.levels, voxels);
    T* planes = out.mutable_data_ptr<T>() + map * g.stride() * voxels;
    torch::stable::parallel_for(0, strips_of(g.shape), 1, [&](int64_t begin, int64_t end) {
      StripFeatures<T> features(g, table, m, logs, planes);
      for (int64_t number = begin; number < end; ++number) features.run(strip_at(g.shape, number));
    });
  }
}

Tensor local_glcm(const Tensor& x_in, std::optional<Tensor> mask_in, std::vector<int64_t> window, std::vector<int64_t> offsets,
                  int64_t levels, int64_t features, bool mean) {
  const char* op = "local_glcm";
  const GlcmProblem g = glcm_problem(op, x_in, mask_in, window, offsets, levels, features, mean);
  const Tensor x = torch::stable::contiguous(x_in);
  const std::optional<Tensor> mask = mask_in ? std::optional<Tensor>(torch::stable::contiguous(*mask_in)) : std::nullopt;
  std::vector<int64_t> shape = full_shape(x);
  shape[1] *= g.stride();
  Tensor out = torch::stable::new_empty(x, shape);
  const bool* inside = mask ? mask->const_data_ptr<bool>() : nullptr;
  if (x.scalar_type() == ScalarType::Double) run_glcm<double>(x, inside, g, out);
  else run_glcm<float>(x, inside, g, out);
  note_backend(op, backend_name(x.scalar_type()));
  return out;
}

}  // namespace
}  // namespace medseg::cpu

STABLE_TORCH_LIBRARY_FRAGMENT(medseg, m) {
  m.def("local_glcm(Tensor x, Tensor? mask, int[] window, int[] offsets, int levels, int features, bool mean) -> Tensor");
}

STABLE_TORCH_LIBRARY_IMPL(medseg, CPU, m) { m.impl("local_glcm", TORCH_BOX(&medseg::cpu::local_glcm)); }
