// A shared library with the part of NVML's interface that NvmlMeter uses, for
// machines without a driver. GPU 0 draws 250 W, GPU-fake 300 W; GPU 1 has no
// meter, and there are no others.

#include <cstring>

namespace {

constexpr int kSuccess = 0;
constexpr int kNotSupported = 3;
constexpr int kNotFound = 6;

struct Gpu {
  const char* name;
  int power_result;
  unsigned milliwatts;
};
Gpu gpus[] = {{"Fake 100", kSuccess, 250'000},
              {"Fake 10", kNotSupported, 0},
              {"Fake 200", kSuccess, 300'000}};

}  // namespace

extern "C" {

int nvmlInit_v2() { return kSuccess; }
int nvmlShutdown() { return kSuccess; }

const char* nvmlErrorString(int result) {
  if (result == kNotSupported) return "Not Supported";
  return result == kNotFound ? "Not Found" : "Success";
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** gpu) {
  if (index > 1) return kNotFound;
  *gpu = &gpus[index];
  return kSuccess;
}

int nvmlDeviceGetHandleByUUID(const char* id, void** gpu) {
  if (std::strcmp(id, "GPU-fake") != 0) return kNotFound;
  *gpu = &gpus[2];
  return kSuccess;
}

int nvmlDeviceGetName(void* gpu, char* name, unsigned bytes) {
  std::strncpy(name, static_cast<Gpu*>(gpu)->name, bytes);
  return kSuccess;
}

int nvmlDeviceGetPowerUsage(void* gpu, unsigned* milliwatts) {
  *milliwatts = static_cast<Gpu*>(gpu)->milliwatts;
  return static_cast<Gpu*>(gpu)->power_result;
}

}  // extern "C"
