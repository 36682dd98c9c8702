#include "server/logging.h"

#include <grpc/support/log.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

namespace anyprec {
namespace {

// What matters of gRPC's own messages we report ourselves, in our terms.
void LogGrpc(gpr_log_func_args* args) {
  spdlog::debug("gRPC {}:{}: {}", args->file, args->line, args->message);
}

}  // namespace

void SetUpLogging(const std::string& level) {
  spdlog::set_default_logger(spdlog::stderr_color_mt("anyprec"));
  // 2026-01-31T12:34:56.789+01:00 info message
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %^%l%$ %v");
  spdlog::set_level(spdlog::level::from_str(level));
  gpr_set_log_function(LogGrpc);
}

}  // namespace anyprec
