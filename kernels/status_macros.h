// RETURN_IF_ERROR and ASSIGN_OR_RETURN for functions that return absl::Status
// or absl::StatusOr.
#ifndef ANYPREC_KERNELS_STATUS_MACROS_H_
#define ANYPREC_KERNELS_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define RETURN_IF_ERROR(expression)                           \
  do {                                                        \
    if (absl::Status status_ = (expression); !status_.ok()) { \
      return status_;                                         \
    }                                                         \
  } while (false)

// `target` may be a declaration: ASSIGN_OR_RETURN(const int n, ParseInt(s)).
#define ASSIGN_OR_RETURN(target, expression)                               \
  ANYPREC_ASSIGN_OR_RETURN_(ANYPREC_CONCAT_(status_or_, __LINE__), target, \
                            expression)

#define ANYPREC_ASSIGN_OR_RETURN_(result, target, expression) \
  auto result = (expression);                                 \
  if (!result.ok()) return std::move(result).status();        \
  target = *std::move(result)

#define ANYPREC_CONCAT_(a, b) ANYPREC_CONCAT_INNER_(a, b)
#define ANYPREC_CONCAT_INNER_(a, b) a##b

#endif  // ANYPREC_KERNELS_STATUS_MACROS_H_
