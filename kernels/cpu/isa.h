// Instruction sets: what this machine has, asked once and at run time.
//
// Code for an instruction set stands in a translation unit of its own with its
// own compiler options, and holds no inline function that another unit might
// share: the linker could keep the copy that this machine cannot run.
//
// Thread-safe.
#ifndef ANYPREC_KERNELS_CPU_ISA_H_
#define ANYPREC_KERNELS_CPU_ISA_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace anyprec {

// In ascending order: a machine that runs one runs those before it.
enum class Isa {
  kPortable,  // what the compiler assumes of every machine
  kAvx2,      // AVX2, FMA, F16C
  kAvx512,    // AVX-512 F, BW, DQ, VL, VBMI, VNNI, and GFNI
};

// The highest that this machine runs.
Isa DetectIsa();

// "portable", "avx2", "avx512".
absl::string_view IsaName(Isa isa);

// The instruction set of that name; "auto" is DetectIsa(). INVALID_ARGUMENT
// for other names, FAILED_PRECONDITION where this machine lacks it.
absl::StatusOr<Isa> ParseIsa(absl::string_view name);

// True where this machine has what our AMX kernels use, beyond kAvx512: tiles
// of int8 and of bfloat16, and AVX512_BF16, which converts. Asks the operating
// system for permission to use tile registers, which it grants to all threads
// of a process.
bool HasAmx();

}  // namespace anyprec

#endif  // ANYPREC_KERNELS_CPU_ISA_H_
