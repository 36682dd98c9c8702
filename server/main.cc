// anyprec-server: loads a parent model and serves it.
//
// Exit codes: 0 after SIGTERM, SIGINT or AdminService.Drain while serving, 1
// where the server cannot run or a probe found it unwell, 2 for wrong flags.
// Once it answers it prints one line to stdout, "listening on HOST:PORT";
// everything else goes to stderr.

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "kernels/status_macros.h"
#include "runtime/command_line/run_program.h"
#include "runtime/engine/engine.h"
#include "server/admin_service.h"
#include "server/container_limits.h"
#include "server/device_power.h"
#include "server/grpc_server.h"
#include "server/health_probe.h"
#include "server/inference_service.h"
#include "server/logging.h"
#include "server/metrics.h"
#include "server/metrics_server.h"
#include "server/model_description.h"
#include "server/model_loader.h"
#include "server/options.h"
#include "server/port_file.h"
#include "server/precision_governor.h"
#include "server/served_model.h"
#include "server/signal_watcher.h"
#include "server/step_cost_cache.h"
#include "server/ticker_thread.h"
#include "server/version.h"

namespace anyprec {
namespace {

// Below the 3 s that deploy/Dockerfile grants, so that the probe says why.
constexpr absl::Duration kProbeTimeout = absl::Seconds(2);
// After the drain only last messages are still on their way.
constexpr absl::Duration kFlushGrace = absl::Seconds(2);
// How soon a broken engine ends the process, so that something restarts it.
constexpr absl::Duration kHealthInterval = absl::Seconds(1);

// Gives no more threads than the container that we may run in has cores, where
// the options leave that open.
void LimitThreads(const ContainerLimits& limits, ServerOptions& options) {
  const int cores =
      std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  if (options.threads == 0 && limits.cpus.has_value() && *limits.cpus < cores) {
    options.threads = *limits.cpus;
    spdlog::info("the container has {} of {} cores", options.threads, cores);
  }
}

// REQUIRES: `options` are valid.
EngineOptions ToEngineOptions(const ServerOptions& options,
                              const ContainerLimits& limits) {
  EngineOptions engine;
  engine.max_sequences = options.max_sequences;
  engine.max_queued_requests = options.max_queued_requests;
  engine.max_queue_time = absl::Seconds(options.max_queue_time);
  engine.prefill_chunk_tokens = options.prefill_chunk;
  engine.max_context_tokens = options.max_context;
  engine.memory_bytes = static_cast<size_t>(limits.memory_bytes.value_or(0));
  engine.kv_cache_bytes = static_cast<size_t>(options.kv_cache_gb * 1e9);
  engine.gpu_memory_fraction = options.gpu_memory_fraction;
  engine.prefix_cache = options.prefix_cache;
  engine.speculate = options.speculation == "auto";
  engine.warm_up = absl::Seconds(options.warm_up);
  engine.policy = ParsePrecisionPolicy(options.policy).value();
  return engine;
}

PoweredDevice PoweredBy(const std::string& backend_name) {
  return absl::StartsWith(backend_name, "cuda") ? PoweredDevice::kGpu
                                                : PoweredDevice::kCpu;
}

ServedModel ToServedModel(const ServerOptions& options, const Engine& engine,
                          const Tokenizer* tokenizer) {
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
  served.max_requests = options.max_sequences + options.max_queued_requests;
  return served;
}

// Where the server is reached. Opened first, so that a wrong port costs no
// loading; until the model is there, calls are answered with UNAVAILABLE.
struct Ports {
  std::unique_ptr<GrpcServer> main;
  std::unique_ptr<GrpcServer> admin;       // null: off
  std::unique_ptr<MetricsServer> metrics;  // null: off
};

absl::StatusOr<Ports> Listen(const ServerOptions& options,
                             InferenceService& service, AdminService& admin,
                             const Metrics& metrics) {
  Ports ports;
  ASSIGN_OR_RETURN(
      ports.main,
      GrpcServer::Listen(options.host, options.port,
                         v1::InferenceService::service_full_name(), service));
  if (options.admin_port >= 0) {
    ASSIGN_OR_RETURN(
        ports.admin,
        GrpcServer::Listen(options.admin_host, options.admin_port,
                           v1::AdminService::service_full_name(), admin));
  }
  if (options.metrics_port >= 0) {
    const std::string& host =
        options.metrics_host.empty() ? options.host : options.metrics_host;
    ASSIGN_OR_RETURN(ports.metrics, MetricsServer::Listen(
                                        host, options.metrics_port, metrics));
  }
  return ports;
}

absl::Status Announce(const Ports& ports, const ServerOptions& options) {
  if (ports.admin != nullptr) {
    RETURN_IF_ERROR(WritePortFile("admin_port_file", options.admin_port_file,
                                  ports.admin->port()));
    spdlog::info("AdminService on {}", ports.admin->address());
  }
  if (ports.metrics != nullptr) {
    RETURN_IF_ERROR(WritePortFile(
        "metrics_port_file", options.metrics_port_file, ports.metrics->port()));
    spdlog::info("metrics on http://{}/metrics", ports.metrics->address());
  }
  RETURN_IF_ERROR(
      WritePortFile("port_file", options.port_file, ports.main->port()));
  std::printf("listening on %s\n", ports.main->address().c_str());
  std::fflush(stdout);
  return absl::OkStatus();
}

// Returns at a signal or a Drain call, or with the reason why the engine
// stopped.
absl::Status WaitWhileHealthy(const Engine& engine, SignalWatcher& signals) {
  while (!signals.WaitFor(kHealthInterval)) {
    RETURN_IF_ERROR(engine.Health());
  }
  return absl::OkStatus();
}

// Takes step times from `cache` where it has them.
void ReadStepCosts(const StepCostCache& cache, EngineOptions& options) {
  absl::StatusOr<StepCostModel> costs = cache.Read();
  if (costs.ok()) {
    spdlog::info("step times are those of {}", cache.path());
    options.step_costs = *std::move(costs);
  } else if (!absl::IsNotFound(costs.status())) {
    spdlog::warn("measuring step times anew: {}",
                 std::string(costs.status().message()));
  }
}

// Takes the model and its backend out of `loaded`.
absl::StatusOr<std::unique_ptr<Engine>> CreateEngine(
    const std::string& step_cost_folder, EngineOptions options,
    LoadedModel& loaded) {
  std::optional<StepCostCache> cache;
  if (!step_cost_folder.empty()) {
    cache.emplace(step_cost_folder,
                  StepCostKey(loaded.name, *loaded.model,
                              loaded.backend->name(), options));
    ReadStepCosts(*cache, options);
  }
  const bool measures =
      !options.step_costs.has_value() && options.warm_up > absl::ZeroDuration();
  if (measures) {
    spdlog::info("measuring step times for {}",
                 absl::FormatDuration(options.warm_up));
  }
  ASSIGN_OR_RETURN(
      std::unique_ptr<Engine> engine,
      Engine::Create(options, std::move(loaded.backend),
                     std::move(loaded.model), loaded.tokenizer.get()));
  if (engine->max_context_tokens() < engine->model().max_context_tokens()) {
    spdlog::warn(
        "the KV cache holds {} tokens, the model's context {}: "
        "requests are limited to the former; see --kv_cache_gb",
        engine->max_context_tokens(), engine->model().max_context_tokens());
  }
  if (measures && cache.has_value()) {
    const EngineStats stats = engine->Stats();
    const absl::Status written = cache->Write(
        *stats.step_costs, stats.kv_blocks_total * options.kv_block_tokens);
    if (!written.ok()) {
      spdlog::warn("step times are not kept: {}",
                   std::string(written.message()));
    }
  }
  return engine;
}

// Before a model is loaded in vain.
absl::Status CheckPortFiles(const ServerOptions& options) {
  RETURN_IF_ERROR(CheckPortFile("port_file", options.port_file));
  RETURN_IF_ERROR(CheckPortFile("admin_port_file", options.admin_port_file));
  return CheckPortFile("metrics_port_file", options.metrics_port_file);
}

absl::Status Serve(ServerOptions options, SignalWatcher& signals) {
  RETURN_IF_ERROR(CheckPortFiles(options));
  const ContainerLimits limits = ReadContainerLimits();
  LimitThreads(limits, options);
  Metrics metrics;
  InferenceService service(metrics);
  AdminService admin;
  ASSIGN_OR_RETURN(const Ports ports, Listen(options, service, admin, metrics));
  ASSIGN_OR_RETURN(LoadedModel loaded, LoadModel(options));
  const std::string backend_name(loaded.backend->name());
  ASSIGN_OR_RETURN(const std::unique_ptr<Engine> engine,
                   CreateEngine(options.step_cost_cache,
                                ToEngineOptions(options, limits), loaded));
  const PrecisionLimits bits = {engine->model().seed_bits(),
                                engine->model().max_bits()};
  PrecisionGovernor governor(*engine, bits,
                             OpenPowerMeter(PoweredBy(backend_name)));
  const TickerThread ticker(PrecisionGovernor::kTick,
                            [&governor] { governor.Tick(); });
  const auto stop_taking_work = [&ports, &service] {
    ports.main->SetServing(false);
    service.StopTakingWork();
  };

  InferenceService::Serving serving;
  serving.engine = engine.get();
  serving.model = ToServedModel(options, *engine, loaded.tokenizer.get());
  serving.description =
      DescribeModel(loaded.name, engine->model(), serving.model, backend_name);
  service.Start(std::move(serving));
  metrics.AttachEngine(*engine, bits);
  signals.Defer();
  ports.main->SetServing(true);
  admin.Start({engine.get(), &governor, bits, [&] {
                 stop_taking_work();
                 signals.Trigger();
               }});
  if (ports.admin != nullptr) ports.admin->SetServing(true);
  spdlog::info("serving {} at {} to {} bits on {}", loaded.name, bits.min_bits,
               bits.max_bits, backend_name);
  absl::Status outcome = Announce(ports, options);
  if (outcome.ok()) outcome = WaitWhileHealthy(*engine, signals);

  spdlog::info("shutting down; running requests have {} s",
               options.drain_timeout);
  stop_taking_work();
  engine->Drain(absl::Now() + absl::Seconds(options.drain_timeout));
  const absl::Time flushed_by = absl::Now() + kFlushGrace;
  service.AwaitCalls(flushed_by);
  ports.main->Shutdown(flushed_by);
  if (ports.admin != nullptr) ports.admin->Shutdown(flushed_by);
  metrics.DetachEngine();
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
