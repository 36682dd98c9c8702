// ANYPREC_CHECK(condition) << "why": ends the process when our own code broke
// its own invariant. Never for input from outside; that gets an absl::Status.
#ifndef ANYPREC_KERNELS_CHECK_H_
#define ANYPREC_KERNELS_CHECK_H_

#include <sstream>

namespace anyprec::internal {

// Collects a message; its destructor prints it and aborts.
class CheckFailure {
 public:
  CheckFailure(const char* file, int line, const char* condition);
  [[noreturn]] ~CheckFailure();
  std::ostream& stream() { return message_; }

 private:
  std::ostringstream message_;
};

// Gives both branches of ANYPREC_CHECK's conditional the type void.
struct Voidify {
  void operator&(std::ostream&) {}
};

}  // namespace anyprec::internal

#define ANYPREC_CHECK(condition)                                              \
  (condition)                                                                 \
      ? (void)0                                                               \
      : ::anyprec::internal::Voidify() &                                      \
            ::anyprec::internal::CheckFailure(__FILE__, __LINE__, #condition) \
                .stream()

#endif  // ANYPREC_KERNELS_CHECK_H_
