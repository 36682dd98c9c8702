// Speed of BitPlaneLinear and BinaryCodedLinear beside the machine's limits,
// measured in turns so that a disturbance hits all alike.
//
//   bazel run -c opt //kernels/cpu:gemv_benchmark --
//       [--threads=2] [--pin=false] [--isa=auto] [--cached=false]
//       [--benchmark_filter=REGEX]
//
// Decode/bits:P/rows:M multiplies M rows with a 4096 x 4096 layer that comes
// from DRAM: layers of 1 GiB and more are used in rotation; with --cached, one
// layer over and over, which shows what instructions alone cost. Counters:
//   us            median of a product
//   GB/s          bytes that it reads (BytesRead) over that time
//   x_fp32        how many times faster than our fp32 GEMV of the same shape
//   of_read       GB/s as a fraction of what a plain sequential read takes in
//   of_peak_read  the same of the fastest read that we know (eight streams)
//   best_*        the same from the fastest tenth of the samples instead of
//                 medians, for machines that others use too
// BinaryCoded/bits:P/rows:M is the same with AnyBCQ's scales, groups of 128.
// Small/... multiplies the shapes of a 135 M model's layers, in cache.
// Prefill/bits:P/rows:M and BinaryCodedPrefill/... give GFLOP/s.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "kernels/check.h"
#include "kernels/cpu/binary_coded_linear.h"
#include "kernels/cpu/bit_plane_linear.h"
#include "kernels/cpu/dense_linear.h"
#include "kernels/cpu/huge_pages.h"
#include "kernels/cpu/thread_pool.h"

namespace anyprec {
namespace {

constexpr int kSize = 4096;
constexpr size_t kRotationBytes = size_t{1} << 30;

struct Flags {
  int threads = 2;
  bool pin = false;
  Isa isa = DetectIsa();
  bool cached = false;
};

Flags& GetFlags() {
  static Flags flags;
  return flags;
}

ThreadPool& Pool() {
  static ThreadPool pool(
      {.threads = GetFlags().threads, .pin = GetFlags().pin});
  return pool;
}

template <typename T>
T ValueOrDie(absl::StatusOr<T> value) {
  ANYPREC_CHECK(value.ok()) << value.status().ToString();
  return *std::move(value);
}

double SecondsOf(absl::FunctionRef<void()> body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
      .count();
}

// Sorts; returns the median or the tenth percentile.
double Median(std::vector<double>& samples) {
  std::sort(samples.begin(), samples.end());
  return samples[samples.size() / 2];
}
double Best(std::vector<double>& samples) {
  std::sort(samples.begin(), samples.end());
  return samples[samples.size() / 10];
}

std::vector<float> RandomFloats(size_t count) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// The codes of a layer, at random.
class RandomPlanes {
 public:
  RandomPlanes(int n, int k, int precision) : n_(n), k_(k), words_(precision) {
    std::mt19937 random(2);
    for (std::vector<uint32_t>& plane : words_) {
      plane.resize(static_cast<size_t>(n) * k / 32);
      for (uint32_t& word : plane) word = static_cast<uint32_t>(random());
      pointers_.push_back(plane.data());
    }
  }

  BitPlaneMatrix view() const { return {pointers_, n_, k_}; }

 private:
  const int n_;
  const int k_;
  std::vector<std::vector<uint32_t>> words_;
  std::vector<const uint32_t*> pointers_;
};

// Centroids or scales between -0.01 and 0.01.
std::vector<Float16> RandomFloat16s(size_t count) {
  std::mt19937 random(3);
  std::vector<Float16> values(count);
  for (Float16& value : values) {
    value = ToFloat16(static_cast<int>(random() % 2001) * 1e-5f - 0.01f);
  }
  return values;
}

// Layers with one precision.
std::unique_ptr<BitPlaneLinear> MakeLayer(int n, int k, int precision,
                                          ComputeMode mode) {
  const RandomPlanes planes(n, k, precision);
  const auto centroids = RandomFloat16s(static_cast<size_t>(n) << precision);
  const Codebook codebook = {.precision = precision, .data = centroids};
  const QuantizedLinear linear = {.matrix = planes.view(),
                                  .codebooks = std::span(&codebook, 1),
                                  .scales = {}};
  return ValueOrDie(
      BitPlaneLinear::Create(std::span(&linear, 1), mode, GetFlags().isa));
}

std::unique_ptr<BinaryCodedLinear> MakeBinaryCoded(int n, int k,
                                                   int precision) {
  constexpr int kGroupSize = 128;
  const RandomPlanes planes(n, k, precision);
  const size_t groups = static_cast<size_t>(n) * GroupCount(k, kGroupSize);
  const auto alpha = RandomFloat16s(groups * precision);
  const auto beta = RandomFloat16s(groups);
  const GroupScales scales = {.precision = precision,
                              .group_size = kGroupSize,
                              .alpha = alpha,
                              .beta = beta};
  const QuantizedLinear linear = {.matrix = planes.view(),
                                  .codebooks = {},
                                  .scales = std::span(&scales, 1)};
  return ValueOrDie(
      BinaryCodedLinear::Create(std::span(&linear, 1), GetFlags().isa));
}

// 1 GiB of fp32 layers: what bit planes are compared with, and the memory
// whose reading gives the bandwidth.
class Float32Rotation {
 public:
  Float32Rotation() {
    const std::vector<float> data = RandomFloats(size_t{kSize} * kSize);
    const DenseMatrix matrix = {.type = DenseMatrix::Type::kFloat32,
                                .data = data.data(),
                                .row_scales = {},
                                .n = kSize,
                                .k = kSize};
    const size_t count = kRotationBytes / (data.size() * sizeof(float));
    for (size_t i = 0; i < count; ++i) {
      layers_.push_back(ValueOrDie(
          DenseLinear::Create(std::span(&matrix, 1), ComputeMode::kFloat32,
                              GetFlags().isa, Pool())));
    }
    memory_ = ValueOrDie(HugePageBuffer::Create(kRotationBytes));
    std::memset(memory_.data(), 1, memory_.size());
  }

  // Seconds of one fp32 GEMV.
  double Multiply(const std::vector<float>& x, std::vector<float>& y) {
    const RowGroup group = {0, 1, 0, Phase::kDecode};
    const DenseLinear& layer = *layers_[next_layer_++ % layers_.size()];
    return SecondsOf([&] {
      ANYPREC_CHECK(layer
                        .MatMul(Pool(), std::span(&group, 1), x.data(),
                                y.data(), false, scratch_)
                        .ok());
    });
  }

  // Seconds of reading 8 MiB, about what a GEMV reads, by `sum`.
  using Sum = uint64_t (*)(const uint64_t* words, size_t n);
  double SecondsOfRead(Sum sum) {
    constexpr size_t kReadWords = kReadBytes / sizeof(uint64_t);
    const size_t part = next_read_++ % (kRotationBytes / kReadBytes);
    const uint64_t* const words = memory_.as<uint64_t>() + part * kReadWords;
    return SecondsOf([&] {
      Pool().ParallelFor(
          kReadWords, size_t{1} << 16, [&](size_t begin, size_t end) {
            benchmark::DoNotOptimize(sum(words + begin, end - begin));
          });
    });
  }

  static constexpr size_t kReadBytes = size_t{8} << 20;

  // One stream, as a program without care for the memory system reads.
  // REQUIRES: n is a multiple of 64, here and below.
  __attribute__((target_clones("avx512f", "avx2", "default"))) static uint64_t
  SumInOrder(const uint64_t* words, size_t n) {
    uint64_t sums[64] = {};
    for (size_t i = 0; i < n; i += 64) {
      for (int j = 0; j < 64; ++j) sums[j] += words[i + j];
    }
    uint64_t sum = 0;
    for (const uint64_t value : sums) sum += value;
    return sum;
  }
  // Eight streams with prefetch: at a page's end, where the hardware's
  // prefetcher stops, seven others go on.
  __attribute__((target_clones("avx512f", "avx2", "default"))) static uint64_t
  SumStreams(const uint64_t* words, size_t n) {
    constexpr int kStreams = 8, kLine = 8, kAhead = 8 * kLine;
    const size_t stream = n / kStreams;
    uint64_t sums[kLine] = {};
    for (size_t i = 0; i < stream; i += kLine) {
      for (int s = 0; s < kStreams; ++s) {
        const uint64_t* const line = words + s * stream + i;
        __builtin_prefetch(line + kAhead);
        for (int j = 0; j < kLine; ++j) sums[j] += line[j];
      }
    }
    uint64_t sum = 0;
    for (const uint64_t value : sums) sum += value;
    return sum;
  }

  std::vector<std::unique_ptr<DenseLinear>> layers_;
  HugePageBuffer memory_;
  MatMulScratch scratch_;
  size_t next_layer_ = 0;
  size_t next_read_ = 0;
};

Float32Rotation& Float32Layers() {
  static Float32Rotation rotation;
  return rotation;
}

template <typename Layer>
void MultiplyOnce(const Layer& layer, const RowGroup& group,
                  const std::vector<float>& x, std::vector<float>& y,
                  MatMulScratch& scratch) {
  ANYPREC_CHECK(layer
                    .MatMul(Pool(), std::span(&group, 1), x.data(), y.data(),
                            false, scratch)
                    .ok());
}

// `make` makes a layer of the precision that it is given, here and below.
template <typename Make>
void Decode(benchmark::State& state, const Make& make) {
  const int precision = static_cast<int>(state.range(0));
  const int rows = static_cast<int>(state.range(1));
  std::vector<decltype(make(precision))> layers;
  size_t bytes = 0;
  while (bytes < (GetFlags().cached ? 1 : kRotationBytes)) {
    layers.push_back(make(precision));
    bytes += layers.back()->BytesResident();
  }
  const std::vector<float> x = RandomFloats(size_t{kSize} * rows);
  std::vector<float> y(x.size());
  const RowGroup group = {0, rows, precision, Phase::kDecode};
  MatMulScratch scratch;
  std::vector<double> seconds, fp32_seconds, reads, peak_reads;
  size_t next = 0;
  for (auto _ : state) {
    using Rotation = Float32Rotation;
    reads.push_back(Float32Layers().SecondsOfRead(Rotation::SumInOrder));
    peak_reads.push_back(Float32Layers().SecondsOfRead(Rotation::SumStreams));
    fp32_seconds.push_back(Float32Layers().Multiply(x, y));
    double total = 0;
    constexpr int kProducts = 8;
    for (int i = 0; i < kProducts; ++i) {
      const auto& layer = *layers[next++ % layers.size()];
      seconds.push_back(
          SecondsOf([&] { MultiplyOnce(layer, group, x, y, scratch); }));
      total += seconds.back();
    }
    state.SetIterationTime(total / kProducts);
  }
  const double read = static_cast<double>(layers[0]->BytesRead(precision));
  const auto report = [&](const std::string& prefix,
                          double (*statistic)(std::vector<double>&)) {
    const double time = statistic(seconds);
    state.counters[prefix + "us"] = time * 1e6;
    state.counters[prefix + "GB/s"] = read / time / 1e9;
    state.counters[prefix + "x_fp32"] = statistic(fp32_seconds) / time;
    const double of_buffer = read / Float32Rotation::kReadBytes / time;
    state.counters[prefix + "of_read"] = of_buffer * statistic(reads);
    state.counters[prefix + "of_peak_read"] = of_buffer * statistic(peak_reads);
  };
  report("", Median);
  report("best_", Best);
  const double buffer = Float32Rotation::kReadBytes * 1e-9;
  state.counters["read_GB/s"] = buffer / Median(reads);
  state.counters["peak_read_GB/s"] = buffer / Median(peak_reads);
}

template <typename Make>
void Prefill(benchmark::State& state, const Make& make) {
  const int precision = static_cast<int>(state.range(0));
  const int rows = static_cast<int>(state.range(1));
  const auto layer = make(precision);
  const std::vector<float> x = RandomFloats(size_t{kSize} * rows);
  std::vector<float> y(x.size());
  const RowGroup group = {0, rows, precision, Phase::kPrefill};
  MatMulScratch scratch;
  std::vector<double> seconds;
  for (auto _ : state) {
    seconds.push_back(
        SecondsOf([&] { MultiplyOnce(*layer, group, x, y, scratch); }));
    state.SetIterationTime(seconds.back());
  }
  const double operations = 2.0 * kSize * kSize * rows;
  state.counters["GFLOP/s"] = operations / Median(seconds) / 1e9;
  state.counters["best_GFLOP/s"] = operations / Best(seconds) / 1e9;
}

// One layer of SmolLM2-135M: qkv, o, gate and up, down.
void Small(benchmark::State& state) {
  const int precision = static_cast<int>(state.range(0));
  const int rows = static_cast<int>(state.range(1));
  const int shapes[][2] = {{960, 576}, {576, 576}, {3072, 576}, {576, 1536}};
  std::vector<std::unique_ptr<BitPlaneLinear>> layers;
  for (const auto& shape : shapes) {
    layers.push_back(
        MakeLayer(shape[0], shape[1], precision, ComputeMode::kInt16));
  }
  const std::vector<float> x = RandomFloats(size_t{1536} * rows);
  std::vector<float> y(size_t{3072} * rows);
  const RowGroup group = {0, rows, precision, Phase::kDecode};
  MatMulScratch scratch;
  std::vector<double> seconds;
  for (auto _ : state) {
    seconds.push_back(SecondsOf([&] {
      for (const auto& layer : layers) {
        MultiplyOnce(*layer, group, x, y, scratch);
      }
    }));
    state.SetIterationTime(seconds.back());
  }
  state.counters["us"] = Median(seconds) * 1e6;
  state.counters["best_us"] = Best(seconds) * 1e6;
}

void RegisterAll() {
  const auto add = [](const std::string& name, auto function,
                      const std::vector<int64_t>& bits,
                      const std::vector<int64_t>& rows, int iterations) {
    benchmark::RegisterBenchmark(name.c_str(), function)
        ->ArgNames({"bits", "rows"})
        ->ArgsProduct({bits, rows})
        ->UseManualTime()
        ->Unit(benchmark::kMicrosecond)
        ->Iterations(iterations);
  };
  const auto decode = [](auto make) {
    return [make](benchmark::State& state) { Decode(state, make); };
  };
  const auto prefill = [](auto make) {
    return [make](benchmark::State& state) { Prefill(state, make); };
  };
  const auto int16 = [](int precision) {
    return MakeLayer(kSize, kSize, precision, ComputeMode::kInt16);
  };
  const auto float32 = [](int precision) {
    return MakeLayer(kSize, kSize, precision, ComputeMode::kFloat32);
  };
  const auto binary_coded = [](int precision) {
    return MakeBinaryCoded(kSize, kSize, precision);
  };
  add("Decode", decode(int16), {3, 4, 5, 6, 7, 8}, {1}, 100);
  add("Decode", decode(int16), {3, 4, 8}, {2, 4, 8, 12, 16, 32}, 50);
  add("DecodeFloat32", decode(float32), {3, 4, 8}, {1}, 50);
  add("BinaryCoded", decode(binary_coded), {2, 3, 4}, {1}, 100);
  add("BinaryCoded", decode(binary_coded), {3}, {4, 16}, 50);
  add("Small", Small, {4}, {1, 2, 4, 8, 16}, 2000);
  add("Prefill", prefill(int16), {3, 4, 8}, {16, 32, 48, 64, 112, 512}, 20);
  add("PrefillFloat32", prefill(float32), {4}, {512}, 5);
  add("BinaryCodedPrefill", prefill(binary_coded), {4}, {64, 512}, 5);
}

// Takes our flags out of argv. False where one is malformed.
bool ParseFlags(int* argc, char** argv) {
  int kept = 1;
  for (int i = 1; i < *argc; ++i) {
    absl::string_view flag = argv[i];
    if (absl::ConsumePrefix(&flag, "--threads=")) {
      if (!absl::SimpleAtoi(flag, &GetFlags().threads)) return false;
    } else if (absl::ConsumePrefix(&flag, "--pin=")) {
      if (!absl::SimpleAtob(flag, &GetFlags().pin)) return false;
    } else if (absl::ConsumePrefix(&flag, "--cached=")) {
      if (!absl::SimpleAtob(flag, &GetFlags().cached)) return false;
    } else if (absl::ConsumePrefix(&flag, "--isa=")) {
      const absl::StatusOr<Isa> isa = ParseIsa(flag);
      if (!isa.ok()) return false;
      GetFlags().isa = *isa;
    } else {
      argv[kept++] = argv[i];
    }
  }
  *argc = kept;
  return true;
}

}  // namespace
}  // namespace anyprec

int main(int argc, char** argv) {
  if (!anyprec::ParseFlags(&argc, argv)) {
    std::fprintf(
        stderr,
        "usage: %s [--threads=N] [--pin=BOOL] [--isa=NAME] [--cached=BOOL]\n",
        argv[0]);
    return 1;
  }
  anyprec::RegisterAll();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
