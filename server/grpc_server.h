// The gRPC side of the process: port, limits, health, reflection.
//
// Thread-safe.
#ifndef ANYPREC_SERVER_GRPC_SERVER_H_
#define ANYPREC_SERVER_GRPC_SERVER_H_

#include <grpcpp/server.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace anyprec {

class GrpcServer {
 public:
  // Serves `service`, which must outlive this object and has the full name
  // `service_name`, at `host`:`port`, or at a free port where `port` is 0.
  // Healthy only after SetServing(true).
  // UNAVAILABLE names the address and why it cannot be had.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Listen(
      const std::string& host, int port, const std::string& service_name,
      grpc::Service& service);

  // Ends calls that are still open.
  ~GrpcServer();

  // "127.0.0.1:50051"
  const std::string& address() const { return address_; }
  int port() const { return port_; }

  // What health checks answer, for the server and for its service.
  void SetServing(bool serving);

  // Takes no more calls; returns when the open ones have ended, or cancels them
  // at `deadline`. Only of calls that had ended before is it certain that the
  // client has all: see server/open_calls.h.
  void Shutdown(absl::Time deadline);

 private:
  GrpcServer() = default;

  std::string address_;
  int port_ = 0;
  std::string service_name_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace anyprec

#endif  // ANYPREC_SERVER_GRPC_SERVER_H_
