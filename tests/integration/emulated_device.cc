// Part of emulated-server: its device has ANYPREC_EMULATED_DEVICE_BYTES of
// memory, where that is set, and is lost when SIGUSR1 comes.
#include <signal.h>

#include <cstdlib>
#include <string>
#include <thread>

#include "kernels/cuda/emulation/runtime.h"

namespace anyprec {
namespace {

void LoseDeviceAt(sigset_t signals) {
  int signal_number = 0;
  sigwait(&signals, &signal_number);
  emulation::FailCall("cudaStreamSynchronize", 1, cudaErrorIllegalAddress);
}

// Before main(), so that all its threads block the signal too.
[[maybe_unused]] const bool kWatching = [] {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread(LoseDeviceAt, signals).detach();
  return true;
}();

[[maybe_unused]] const bool kLimited = [] {
  const char* const bytes = std::getenv("ANYPREC_EMULATED_DEVICE_BYTES");
  if (bytes != nullptr) emulation::SetDeviceMemory(std::stoull(bytes));
  return bytes != nullptr;
}();

}  // namespace
}  // namespace anyprec
