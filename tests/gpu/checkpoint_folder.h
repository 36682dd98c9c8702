// Where gpu-suite finds tiny-llama.
#ifndef ANYPREC_TESTS_GPU_CHECKPOINT_FOLDER_H_
#define ANYPREC_TESTS_GPU_CHECKPOINT_FOLDER_H_

#include <string>

namespace anyprec {

// In the program's runfiles, or at ../tiny-llama of its folder, as
// deploy/bundle.sh puts it; "" where it is at neither.
std::string CheckpointFolder();

}  // namespace anyprec

#endif  // ANYPREC_TESTS_GPU_CHECKPOINT_FOLDER_H_
