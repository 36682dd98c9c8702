// anyprec-server: loads a parent model and serves it.
//
// Exit codes: 0 after SIGTERM or SIGINT while serving, 1 where the server
// cannot run or a probe found it unwell, 2 for wrong flags. Once it answers it
// prints one line to stdout, "listening on HOST:PORT"; everything else goes to
// stderr.

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "kernels/status_macros.h"
#include "runtime/command_line/run_program.h"
#include "runtime/engine/engine.h"
#include "server/container_limits.h"
#include "server/grpc_server.h"
#include "server/health_probe.h"
#include "server/inference_service.h"
#include "server/logging.h"
#include "server/model_description.h"
#include "server/model_loader.h"
#include "server/options.h"
#include "server/signal_watcher.h"
#include "server/version.h"

namespace anyprec {
namespace {

// Below the 3 s that deploy/Dockerfile grants, so that the probe says why.
constexpr absl::Duration kProbeTimeout = absl::Seconds(2);
// After the drain only last messages are still on their way.
constexpr absl::Duration kFlushGrace = absl::Seconds(2);
// How soon a broken engine ends the process, so that something restarts it.
constexpr absl::Duration kHealthInterval = absl::Seconds(1);

// Fits what the options leave open to the container that we may run in.
void FitIntoContainer(ServerOptions& options) {
  // The share that the engine takes of a machine, too.
  constexpr double kKvCacheShare = 1.0 / 8;
  const ContainerLimits limits = ReadContainerLimits();
  const int cores =
      std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  if (options.threads == 0 && limits.cpus.has_value() && *limits.cpus < cores) {
    options.threads = *limits.cpus;
    spdlog::info("the container has {} of {} cores", options.threads, cores);
  }
  if (options.kv_cache_gb == 0 && limits.memory_bytes.has_value()) {
    options.kv_cache_gb =
        kKvCacheShare * 1e-9 * static_cast<double>(*limits.memory_bytes);
  }
}

// REQUIRES: `options` are valid.
EngineOptions ToEngineOptions(const ServerOptions& options) {
  EngineOptions engine;
  engine.max_sequences = options.max_sequences;
  engine.max_queued_requests = options.max_queued_requests;
  engine.max_queue_time = absl::Seconds(options.max_queue_time);
  engine.prefill_chunk_tokens = options.prefill_chunk;
  engine.max_context_tokens = options.max_context;
  engine.kv_cache_bytes = static_cast<size_t>(options.kv_cache_gb * 1e9);
  engine.warm_up = absl::Seconds(options.warm_up);
  engine.policy = ParsePrecisionPolicy(options.policy).value();
  return engine;
}

ServedModel ToServedModel(const Engine& engine, const Tokenizer* tokenizer) {
  const LlamaModel& model = engine.model();
  ServedModel served;
  served.tokenizer = tokenizer;
  if (tokenizer != nullptr) {
    served.chat_template = ChatTemplate::ForTokenizer(*tokenizer);
  }
  served.vocab_size = model.config().vocab_size;
  served.seed_bits = model.seed_bits();
  served.max_bits = model.max_bits();
  served.max_context_tokens = engine.max_context_tokens();
  return served;
}

absl::Status PortFileError(const std::string& path) {
  return absl::UnavailableError(absl::StrCat(
      "--port_file: cannot write \"", path, "\": ", std::strerror(errno)));
}

// Renamed into place, so that a reader never sees half a number.
absl::Status WritePortFile(const std::string& path, int port) {
  const std::string partial = path + ".partial";
  std::ofstream file(partial);
  file << port << "\n";
  file.close();
  if (file.fail() || std::rename(partial.c_str(), path.c_str()) != 0) {
    const absl::Status status = PortFileError(path);
    std::remove(partial.c_str());
    return status;
  }
  return absl::OkStatus();
}

// Before a model is loaded in vain.
absl::Status CheckPortFile(const std::string& path) {
  const std::string partial = path + ".partial";
  if (!std::ofstream(partial).is_open()) return PortFileError(path);
  std::remove(partial.c_str());
  return absl::OkStatus();
}

absl::Status Announce(const GrpcServer& server, const std::string& port_file) {
  if (!port_file.empty()) {
    RETURN_IF_ERROR(WritePortFile(port_file, server.port()));
  }
  std::printf("listening on %s\n", server.address().c_str());
  std::fflush(stdout);
  return absl::OkStatus();
}

// Returns at a signal, or with the reason why the engine stopped.
absl::Status WaitWhileHealthy(const Engine& engine, SignalWatcher& signals) {
  while (!signals.WaitFor(kHealthInterval)) {
    RETURN_IF_ERROR(engine.Health());
  }
  return absl::OkStatus();
}

absl::Status Serve(ServerOptions options, SignalWatcher& signals) {
  if (!options.port_file.empty()) {
    RETURN_IF_ERROR(CheckPortFile(options.port_file));
  }
  FitIntoContainer(options);
  InferenceService service;
  // First the port, so that a wrong one costs no loading; until the model is
  // there, calls are answered with UNAVAILABLE.
  ASSIGN_OR_RETURN(const std::unique_ptr<GrpcServer> server,
                   GrpcServer::Listen(options.host, options.port, service));
  ASSIGN_OR_RETURN(LoadedModel loaded, LoadModel(options));
  const std::string backend_name(loaded.backend->name());
  if (options.warm_up > 0) {
    spdlog::info("measuring step times for {} s", options.warm_up);
  }
  ASSIGN_OR_RETURN(
      const std::unique_ptr<Engine> engine,
      Engine::Create(ToEngineOptions(options), std::move(loaded.backend),
                     std::move(loaded.model), loaded.tokenizer.get()));

  if (engine->max_context_tokens() < engine->model().max_context_tokens()) {
    spdlog::warn(
        "the KV cache holds {} tokens, the model's context {}: "
        "requests are limited to the former; see --kv_cache_gb",
        engine->max_context_tokens(), engine->model().max_context_tokens());
  }

  InferenceService::Serving serving;
  serving.engine = engine.get();
  serving.model = ToServedModel(*engine, loaded.tokenizer.get());
  serving.description =
      DescribeModel(loaded.name, engine->model(), serving.model, backend_name);
  service.Start(std::move(serving));
  signals.Defer();
  server->SetServing(true);
  spdlog::info("serving {} at {} to {} bits on {}", loaded.name,
               engine->model().seed_bits(), engine->model().max_bits(),
               backend_name);
  absl::Status outcome = Announce(*server, options.port_file);
  if (outcome.ok()) outcome = WaitWhileHealthy(*engine, signals);

  spdlog::info("shutting down; running requests have {} s",
               options.drain_timeout);
  server->SetServing(false);
  engine->Drain(absl::Now() + absl::Seconds(options.drain_timeout));
  server->Shutdown(kFlushGrace);
  return outcome;
}

int Main(const std::vector<std::string>& arguments) {
  SignalWatcher signals;
  const absl::StatusOr<ServerOptions> options = ParseServerOptions(arguments);
  if (!options.ok()) {
    std::fprintf(stderr, "anyprec-server: %s\nTry --help.\n",
                 std::string(options.status().message()).c_str());
    return kExitWrongFlags;
  }
  if (options->help) {
    ServerOptions defaults;
    std::printf("Usage: anyprec-server --model=DIR [--FLAG=VALUE...]\n\n%s",
                ServerFlags(defaults).Help().c_str());
    return kExitDone;
  }
  if (options->version) {
    std::printf("anyprec-server %s\n", kVersion);
    return kExitDone;
  }
  SetUpLogging(options->log_level);
  const absl::Status status = options->probe.empty()
                                  ? Serve(*options, signals)
                                  : ProbeHealth(options->probe, kProbeTimeout);
  if (status.ok()) return kExitDone;
  std::fprintf(stderr, "anyprec-server: %s\n",
               std::string(status.message()).c_str());
  return kExitFailed;
}

}  // namespace
}  // namespace anyprec

int main(int argc, char** argv) {
  return anyprec::RunProgram("anyprec-server", [&] {
    return anyprec::Main(std::vector<std::string>(argv + 1, argv + argc));
  });
}
