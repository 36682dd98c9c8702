// NvmlMeter: power of an NVIDIA GPU and its memory, as the driver reports it.
//
// The library comes with the driver and is opened at run time, so that a server
// built anywhere runs anywhere. Thread-compatible.
#ifndef ANYPREC_SERVER_NVML_METER_H_
#define ANYPREC_SERVER_NVML_METER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/power_meter.h"

namespace anyprec {

class NvmlMeter final : public PowerMeter {
 public:
  // `library` is libnvidia-ml.so.1, but in tests. `device` is what stands first
  // in CUDA_VISIBLE_DEVICES: an index or a "GPU-..." id; empty takes GPU 0.
  // FAILED_PRECONDITION says which step failed and what the library answered.
  static absl::StatusOr<std::unique_ptr<NvmlMeter>> Open(
      const std::string& library, const std::string& device);
  ~NvmlMeter() override;

  absl::StatusOr<double> Watts() override;

  const std::string& name() const override { return name_; }

 private:
  class Library;

  explicit NvmlMeter(std::unique_ptr<Library> library);

  std::unique_ptr<Library> library_;
  void* gpu_ = nullptr;  // NVML's handle
  std::string name_;
};

}  // namespace anyprec

#endif  // ANYPREC_SERVER_NVML_METER_H_
