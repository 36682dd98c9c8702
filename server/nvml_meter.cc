#include "server/nvml_meter.h"

#include <dlfcn.h>

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"

namespace anyprec {
namespace {

// From nvml.h, which comes with CUDA only. The ABI is stable: functions that
// changed got a new name (_v2).
constexpr int kSuccess = 0;
constexpr unsigned kNameBytes = 96;  // NVML_DEVICE_NAME_V2_BUFFER_SIZE
using Gpu = void*;
using InitFunction = int();
using ShutdownFunction = int();
using ErrorStringFunction = const char*(int result);
using GpuByIndexFunction = int(unsigned index, Gpu* gpu);
using GpuByIdFunction = int(const char* id, Gpu* gpu);
using GpuNameFunction = int(Gpu gpu, char* name, unsigned bytes);
using PowerFunction = int(Gpu gpu, unsigned* milliwatts);

}  // namespace

// The functions of one opened library; initialized while it lives.
class NvmlMeter::Library {
 public:
  static absl::StatusOr<std::unique_ptr<Library>> Open(
      const std::string& path) {
    std::unique_ptr<Library> library(new Library(path));
    RETURN_IF_ERROR(library->Load());
    RETURN_IF_ERROR(library->Check("nvmlInit_v2", library->init_()));
    library->initialized_ = true;
    return library;
  }

  ~Library() {
    if (initialized_) shutdown_();
    if (handle_ != nullptr) dlclose(handle_);
  }

  absl::StatusOr<Gpu> Find(const std::string& device) const {
    Gpu gpu = nullptr;
    unsigned index = 0;
    if (device.empty() || absl::SimpleAtoi(device, &index)) {
      RETURN_IF_ERROR(
          Check(absl::StrCat("GPU ", index), by_index_(index, &gpu)));
    } else {
      RETURN_IF_ERROR(Check(absl::StrCat("GPU \"", device, "\""),
                            by_id_(device.c_str(), &gpu)));
    }
    return gpu;
  }

  absl::StatusOr<std::string> NameOf(Gpu gpu) const {
    char name[kNameBytes] = {};
    RETURN_IF_ERROR(
        Check("nvmlDeviceGetName", gpu_name_(gpu, name, kNameBytes)));
    return std::string(name);
  }

  absl::StatusOr<double> WattsOf(Gpu gpu) const {
    unsigned milliwatts = 0;
    RETURN_IF_ERROR(Check("nvmlDeviceGetPowerUsage", power_(gpu, &milliwatts)));
    return milliwatts / 1000.0;
  }

 private:
  explicit Library(std::string path) : path_(std::move(path)) {}

  absl::Status Load() {
    handle_ = dlopen(path_.c_str(), RTLD_NOW | RTLD_LOCAL);
    // dlerror() names the library.
    if (handle_ == nullptr) return Error(dlerror());
    RETURN_IF_ERROR(Resolve("nvmlInit_v2", &init_));
    RETURN_IF_ERROR(Resolve("nvmlShutdown", &shutdown_));
    RETURN_IF_ERROR(Resolve("nvmlErrorString", &error_string_));
    RETURN_IF_ERROR(Resolve("nvmlDeviceGetHandleByIndex_v2", &by_index_));
    RETURN_IF_ERROR(Resolve("nvmlDeviceGetHandleByUUID", &by_id_));
    RETURN_IF_ERROR(Resolve("nvmlDeviceGetName", &gpu_name_));
    return Resolve("nvmlDeviceGetPowerUsage", &power_);
  }

  template <typename Function>
  absl::Status Resolve(const char* name, Function** function) {
    *function = reinterpret_cast<Function*>(dlsym(handle_, name));
    return *function != nullptr ? absl::OkStatus() : Error(dlerror());
  }

  absl::Status Check(absl::string_view step, int result) const {
    if (result == kSuccess) return absl::OkStatus();
    return Error(absl::StrCat(path_, ": ", step, ": ", error_string_(result)));
  }

  static absl::Status Error(absl::string_view what) {
    return absl::FailedPreconditionError(absl::StrCat("NVML: ", what));
  }

  std::string path_;
  void* handle_ = nullptr;
  bool initialized_ = false;
  InitFunction* init_ = nullptr;
  ShutdownFunction* shutdown_ = nullptr;
  ErrorStringFunction* error_string_ = nullptr;
  GpuByIndexFunction* by_index_ = nullptr;
  GpuByIdFunction* by_id_ = nullptr;
  GpuNameFunction* gpu_name_ = nullptr;
  PowerFunction* power_ = nullptr;
};

NvmlMeter::NvmlMeter(std::unique_ptr<Library> library)
    : library_(std::move(library)) {}

NvmlMeter::~NvmlMeter() = default;

absl::StatusOr<std::unique_ptr<NvmlMeter>> NvmlMeter::Open(
    const std::string& library, const std::string& device) {
  ASSIGN_OR_RETURN(std::unique_ptr<Library> opened, Library::Open(library));
  std::unique_ptr<NvmlMeter> meter(new NvmlMeter(std::move(opened)));
  ASSIGN_OR_RETURN(meter->gpu_, meter->library_->Find(device));
  ASSIGN_OR_RETURN(const std::string name,
                   meter->library_->NameOf(meter->gpu_));
  meter->name_ = absl::StrCat("NVML ", name);
  // Not every GPU has a meter.
  RETURN_IF_ERROR(meter->Watts().status());
  return meter;
}

absl::StatusOr<double> NvmlMeter::Watts() { return library_->WattsOf(gpu_); }

}  // namespace anyprec
