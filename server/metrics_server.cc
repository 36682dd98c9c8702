#include "server/metrics_server.h"

#include <prometheus/collectable.h>
#include <prometheus/exposer.h>

#include <exception>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "server/host_port.h"

namespace anyprec {
namespace {

// A connection holds a thread. Two scrapers, and as many that hang until they
// are cut off.
constexpr char kThreads[] = "4";
constexpr char kRequestTimeoutMs[] = "5000";

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Listen(
    const std::string& host, int port, const Metrics& metrics) {
  // The library throws where it cannot listen, and does not say why.
  RETURN_IF_ERROR(TryBind(host, port));
  std::unique_ptr<MetricsServer> server(new MetricsServer);
  try {
    server->exposer_ =
        std::make_unique<prometheus::Exposer>(std::vector<std::string>{
            "listening_ports", JoinHostPort(host, port),  //
            "num_threads", kThreads,                      //
            "request_timeout_ms", kRequestTimeoutMs});
  } catch (const std::exception&) {
    return absl::UnavailableError(absl::StrCat(
        "cannot listen on ", JoinHostPort(host, port),
        ": the HTTP library refused it; not every build of it takes IPv6, so "
        "try --metrics_host with an IPv4 address"));
  }
  server->port_ = server->exposer_->GetListeningPorts().front();
  server->address_ = JoinHostPort(host, server->port_);
  server->exposer_->RegisterCollectable(metrics.collectable());
  return server;
}

MetricsServer::~MetricsServer() = default;

}  // namespace anyprec
