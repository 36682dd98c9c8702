// What the server can be told at start, by flag or config file.
#ifndef ANYPREC_SERVER_OPTIONS_H_
#define ANYPREC_SERVER_OPTIONS_H_

#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/command_line/flag_set.h"

namespace anyprec {

struct ServerOptions {
  std::string model;
  std::string host = "127.0.0.1";
  int port = 50051;
  std::string port_file;
  std::string metrics_host;
  int metrics_port = -1;
  std::string metrics_port_file;
  std::string admin_host = "127.0.0.1";
  int admin_port = -1;
  std::string admin_port_file;
  std::string device = "auto";
  int max_bits = 8;
  int threads = 0;
  bool pin_threads = false;
  std::string compute = "int16";
  bool cuda_graphs = true;
  int max_sequences = 64;
  int max_queued_requests = 1024;
  double max_queue_time = 60;
  int max_context = 0;
  int prefill_chunk = 512;
  std::string policy = "slo";
  double kv_cache_gb = 0;
  double gpu_memory_fraction = 0.9;
  bool prefix_cache = true;
  std::string speculation = "off";
  double warm_up = 3;
  std::string step_cost_cache;
  double drain_timeout = 30;
  std::string log_level = "info";
  std::string config;
  std::string probe;
  bool version = false;
  bool help = false;
};

// The server's flags, bound to `options`, which must outlive them.
FlagSet ServerFlags(ServerOptions& options);

// Options from the arguments after the program's name and from the file that
// --config names; flags win. INVALID_ARGUMENT names flag or key, value and
// what is allowed; NOT_FOUND names a config file that cannot be read.
absl::StatusOr<ServerOptions> ParseServerOptions(
    std::span<const std::string> arguments);

}  // namespace anyprec

#endif  // ANYPREC_SERVER_OPTIONS_H_
