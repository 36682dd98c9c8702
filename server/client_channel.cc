#include "server/client_channel.h"

#include <grpcpp/create_channel.h>

namespace anyprec {
namespace {

// Of a process that is stopped, or of a machine that lost its network, TCP
// tells nothing. The server answers pings on threads that do not compute, and
// grpc_server.cc lets clients send one every 10 s.
constexpr int kKeepaliveTimeMs = 20'000;
constexpr int kKeepaliveTimeoutMs = 10'000;

}  // namespace

std::shared_ptr<grpc::Channel> NewClientChannel(const std::string& address) {
  grpc::ChannelArguments arguments;
  // gRPC would send even loopback addresses through http_proxy.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveTimeMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  // By default pings end after two, as we send no data while we wait.
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(),
                                   arguments);
}

}  // namespace anyprec
