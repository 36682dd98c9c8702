#include "server/host_port.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace anyprec {

std::string JoinHostPort(const std::string& host, int port) {
  const bool bare_ipv6 =
      absl::StrContains(host, ':') && !absl::StartsWith(host, "[");
  return bare_ipv6 ? absl::StrCat("[", host, "]:", port)
                   : absl::StrCat(host, ":", port);
}

absl::Status CheckHostPort(absl::string_view flag, absl::string_view address) {
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon != 0 && colon != absl::string_view::npos &&
      absl::SimpleAtoi(address.substr(colon + 1), &port) && port >= 1 &&
      port <= 65535) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag, " is \"", absl::CHexEscape(address),
                   "\"; must be HOST:PORT with a port in [1, 65535]"));
}

absl::Status TryBind(const std::string& host, int port) {
  const auto error = [&](const char* reason) {
    return absl::UnavailableError(absl::StrCat(
        "cannot listen on ", JoinHostPort(host, port), ": ", reason));
  };
  // An IPv6 address may come in brackets.
  absl::string_view name = host;
  if (absl::ConsumePrefix(&name, "[")) absl::ConsumeSuffix(&name, "]");
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int unresolved = getaddrinfo(
      std::string(name).c_str(), absl::StrCat(port).c_str(), &hints, &found);
  if (unresolved != 0) return error(gai_strerror(unresolved));
  const absl::Cleanup free_found = [found] { freeaddrinfo(found); };
  const int fd = socket(found->ai_family, found->ai_socktype, 0);
  if (fd < 0) return error(strerror(errno));
  const absl::Cleanup close_fd = [fd] { close(fd); };
  // As servers do: connections of a server that has just ended are no obstacle.
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(fd, found->ai_addr, found->ai_addrlen) != 0) {
    return error(strerror(errno));
  }
  return absl::OkStatus();
}

}  // namespace anyprec
