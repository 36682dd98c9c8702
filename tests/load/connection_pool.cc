#include "tests/load/connection_pool.h"

#include <grpcpp/create_channel.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace anyprec::load {
namespace {

// gRPC 1.51 may abort when the last channel of its callback API closes, as the
// threads behind all of them then end (grpc_cq_internal_unref). So none closes
// before the process ends.
void KeepOpen(std::shared_ptr<grpc::Channel> channel) {
  static auto* const kept = new std::vector<std::shared_ptr<grpc::Channel>>();
  kept->push_back(std::move(channel));
}

std::unique_ptr<Connection> OpenConnection(const std::string& target) {
  grpc::ChannelArguments arguments;
  // gRPC would send even loopback addresses through http_proxy.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // Else all channels to one address share one connection.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  auto connection = std::make_unique<Connection>();
  connection->channel = grpc::CreateCustomChannel(
      target, grpc::InsecureChannelCredentials(), arguments);
  KeepOpen(connection->channel);
  connection->stub = v1::InferenceService::NewStub(connection->channel);
  return connection;
}

}  // namespace

absl::Status ConnectionPool::Connect(int connections, absl::Duration timeout) {
  absl::MutexLock lock(&mutex_);
  const absl::Time deadline = absl::Now() + timeout;
  for (int i = 0; i < connections; ++i) {
    connections_.push_back(OpenConnection(target_));
    if (!connections_.back()->channel->WaitForConnected(
            absl::ToChronoTime(deadline))) {
      return absl::UnavailableError(absl::StrCat(
          target_, ": no connection within ", absl::FormatDuration(timeout)));
    }
  }
  return absl::OkStatus();
}

Connection* ConnectionPool::Take() {
  absl::MutexLock lock(&mutex_);
  const auto fewest = std::min_element(
      connections_.begin(), connections_.end(),
      [](const auto& a, const auto& b) { return a->calls < b->calls; });
  Connection* connection =
      fewest == connections_.end() ? nullptr : fewest->get();
  if (connection == nullptr || connection->calls >= kMaxCallsPerConnection) {
    connections_.push_back(OpenConnection(target_));
    connection = connections_.back().get();
  }
  ++connection->calls;
  return connection;
}

void ConnectionPool::Release(Connection* connection) {
  absl::MutexLock lock(&mutex_);
  --connection->calls;
}

}  // namespace anyprec::load
