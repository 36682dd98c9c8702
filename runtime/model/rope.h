// The rotary position embedding's table of cosines and sines
// (Su et al., RoFormer, 2021, section 3.2; Llama 3's frequency scaling).
#ifndef ANYPREC_RUNTIME_MODEL_ROPE_H_
#define ANYPREC_RUNTIME_MODEL_ROPE_H_

#include <vector>

#include "runtime/model/model_config.h"

namespace anyprec {

// [positions, head_dim]: for each position from `first` on head_dim / 2
// cosines, then as many sines, of position * frequency. Computed in double: at
// position 2048 an fp32 product is already off by 1e-4.
std::vector<float> RopeTable(const ModelConfig& config, int first,
                             int positions);

}  // namespace anyprec

#endif  // ANYPREC_RUNTIME_MODEL_ROPE_H_
