#include "kernels/cpu/isa.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace anyprec {
namespace {

#if defined(__x86_64__)

// The compiler's run-time library also checks that the operating system saves
// the registers.
Isa QueryIsa() {
  __builtin_cpu_init();
  // F16C, which clang's builtin does not know, came before AVX2.
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
    return Isa::kPortable;
  }
  if (!__builtin_cpu_supports("avx512f") ||
      !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") ||
      !__builtin_cpu_supports("avx512vl") ||
      !__builtin_cpu_supports("avx512vbmi") ||
      !__builtin_cpu_supports("avx512vnni") ||
      !__builtin_cpu_supports("gfni")) {
    return Isa::kAvx2;
  }
  return Isa::kAvx512;
}

// Linux hands out the 8 KiB of tile state only to processes that ask.
bool RequestTilePermission() {
  constexpr long kArchReqXcompPerm = 0x1023;
  constexpr long kXfeatureTileData = 18;
  return syscall(SYS_arch_prctl, kArchReqXcompPerm, kXfeatureTileData) == 0;
}

bool QueryAmx() {
  if (QueryIsa() != Isa::kAvx512 || !__builtin_cpu_supports("avx512bf16")) {
    return false;
  }
  // CPUID leaf 7, EDX.
  constexpr unsigned kBits = 1u << 22 |  // AMX_BF16
                             1u << 24 |  // AMX_TILE
                             1u << 25;   // AMX_INT8
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) return false;
  return (edx & kBits) == kBits && RequestTilePermission();
}

#else

Isa QueryIsa() { return Isa::kPortable; }
bool QueryAmx() { return false; }

#endif

}  // namespace

Isa DetectIsa() {
  static const Isa isa = QueryIsa();
  return isa;
}

absl::string_view IsaName(Isa isa) {
  switch (isa) {
    case Isa::kPortable:
      return "portable";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
  }
  return "unknown";
}

absl::StatusOr<Isa> ParseIsa(absl::string_view name) {
  if (name == "auto") return DetectIsa();
  for (const Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) {
    if (name != IsaName(isa)) continue;
    if (isa > DetectIsa()) {
      return absl::FailedPreconditionError(
          absl::StrCat("this machine does not run ", name, "; its best is ",
                       IsaName(DetectIsa())));
    }
    return isa;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "instruction set \"", name, "\", needs auto, portable, avx2 or avx512"));
}

bool HasAmx() {
  static const bool has = QueryAmx();
  return has;
}

}  // namespace anyprec
