// Serves metrics over HTTP, for Prometheus to scrape at /metrics.
//
// Has threads of its own, so that no scraper, however slow or malformed its
// requests, holds up a request to generate. Thread-safe.
#ifndef ANYPREC_SERVER_METRICS_SERVER_H_
#define ANYPREC_SERVER_METRICS_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/metrics.h"

namespace prometheus {
class Exposer;
}  // namespace prometheus

namespace anyprec {

class MetricsServer {
 public:
  // At `host`:`port`, or at a free port where `port` is 0. `metrics` must
  // outlive this object. UNAVAILABLE names the address and why it cannot be
  // had.
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Listen(
      const std::string& host, int port, const Metrics& metrics);
  ~MetricsServer();

  // "127.0.0.1:9090"
  const std::string& address() const { return address_; }
  int port() const { return port_; }

 private:
  MetricsServer() = default;

  std::string address_;
  int port_ = 0;
  std::unique_ptr<prometheus::Exposer> exposer_;
};

}  // namespace anyprec

#endif  // ANYPREC_SERVER_METRICS_SERVER_H_
