// gpu-suite: what a backend must do, run on an NVIDIA GPU.
//
// GoogleTest's flags. Exits with 1 where a test failed or no GPU can be used.
// Needs no file but tiny-llama, beside it: as Bazel or deploy/bundle.sh put it
// there.
#include <cstdio>
#include <string>

#include "gtest/gtest.h"
#include "kernels/backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "tests/gpu/checkpoint_folder.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (argc > 1) {
    std::fprintf(stderr, "gpu-suite: unknown argument %s\n", argv[1]);
    return 2;
  }
  {
    const auto backend = anyprec::CreateCudaBackend({});
    if (!backend.ok()) {
      std::fprintf(stderr, "gpu-suite: %s\n",
                   std::string(backend.status().message()).c_str());
      return 1;
    }
    std::printf("%s\n", std::string((*backend)->name()).c_str());
  }
  if (anyprec::CheckpointFolder().empty()) {
    std::fprintf(stderr, "gpu-suite: there is no tiny-llama beside it\n");
    return 1;
  }
  return RUN_ALL_TESTS();
}
