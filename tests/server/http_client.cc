#include "tests/server/http_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace anyprec {

std::string SendRaw(int port, absl::string_view bytes) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return "";
  const absl::Cleanup close_fd = [fd] { close(fd); };
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address),
              sizeof(address)) != 0) {
    return "";
  }
  while (!bytes.empty()) {
    // A server may close on us before it has read everything.
    const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) break;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  shutdown(fd, SHUT_WR);
  std::string answer;
  char chunk[4096];
  for (ssize_t size = 0; (size = recv(fd, chunk, sizeof(chunk), 0)) > 0;) {
    answer.append(chunk, static_cast<size_t>(size));
  }
  return answer;
}

HttpResponse HttpGet(int port, const std::string& path) {
  // 1.0, so that the answer is not chunked.
  const std::string answer = SendRaw(
      port, absl::StrCat("GET ", path, " HTTP/1.0\r\nHost: localhost\r\n\r\n"));
  HttpResponse response;
  const size_t space = answer.find(' ');
  const size_t body = answer.find("\r\n\r\n");
  if (!absl::StartsWith(answer, "HTTP/1.") || space == answer.npos ||
      body == answer.npos ||
      !absl::SimpleAtoi(answer.substr(space + 1, 3), &response.status)) {
    return {};
  }
  response.body = answer.substr(body + 4);
  return response;
}

}  // namespace anyprec
