// As much HTTP as tests need, on the loopback interface.
#ifndef ANYPREC_TESTS_SERVER_HTTP_CLIENT_H_
#define ANYPREC_TESTS_SERVER_HTTP_CLIENT_H_

#include <string>

#include "absl/strings/string_view.h"

namespace anyprec {

// Connects, sends `bytes` as they are and returns everything that comes back
// until the other side closes; "" where nobody listens.
std::string SendRaw(int port, absl::string_view bytes);

struct HttpResponse {
  int status = 0;  // 0: no answer
  std::string body;
};

HttpResponse HttpGet(int port, const std::string& path);

}  // namespace anyprec

#endif  // ANYPREC_TESTS_SERVER_HTTP_CLIENT_H_
