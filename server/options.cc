#include "server/options.h"

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/bit_plane.h"
#include "kernels/status_macros.h"
#include "runtime/scheduler/precision_policy.h"
#include "server/host_port.h"

namespace anyprec {
namespace {

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  // A folder opens, and fails to be read: peek() notes what the iterators below
  // would throw.
  file.peek();
  if (!file.is_open() || file.bad()) {
    return absl::NotFoundError(
        absl::StrCat("--config: cannot read \"", path, "\""));
  }
  return std::string(std::istreambuf_iterator<char>(file),
                     std::istreambuf_iterator<char>());
}

absl::Status Validate(const ServerOptions& options) {
  if (options.version || options.help) return absl::OkStatus();
  if (!options.probe.empty()) return CheckHostPort("probe", options.probe);
  if (options.model.empty()) {
    return absl::InvalidArgumentError(
        "--model is missing; name a folder that anyprec-quantize wrote, or "
        "synthetic:NAME");
  }
  RETURN_IF_ERROR(CheckFlagRange("port", options.port, 0, 65535));
  RETURN_IF_ERROR(
      CheckFlagRange("metrics_port", options.metrics_port, -1, 65535));
  RETURN_IF_ERROR(CheckFlagRange("admin_port", options.admin_port, -1, 65535));
  if (options.max_bits != kUnquantizedBits) {
    RETURN_IF_ERROR(
        CheckFlagRange("max_bits", options.max_bits, kMinBits, kMaxBits));
  }
  RETURN_IF_ERROR(CheckFlagRange("threads", options.threads, 0, 1024));
  RETURN_IF_ERROR(
      CheckFlagRange("max_sequences", options.max_sequences, 1, 4096));
  RETURN_IF_ERROR(CheckFlagRange("max_queued_requests",
                                 options.max_queued_requests, 1, 1 << 20));
  RETURN_IF_ERROR(
      CheckFlagRange("max_queue_time", options.max_queue_time, 0.1, 86400.0));
  RETURN_IF_ERROR(
      CheckFlagRange("max_context", options.max_context, 0, 1 << 24));
  if (options.max_context == 1) {
    return absl::InvalidArgumentError(
        "--max_context is 1; a prompt and an answer need 2 at least, 0 takes "
        "the model's");
  }
  RETURN_IF_ERROR(
      CheckFlagRange("prefill_chunk", options.prefill_chunk, 1, 1 << 16));
  if (const auto policy = ParsePrecisionPolicy(options.policy); !policy.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--policy is ", policy.status().message()));
  }
  RETURN_IF_ERROR(
      CheckFlagRange("kv_cache_gb", options.kv_cache_gb, 0.0, 65536.0));
  RETURN_IF_ERROR(CheckFlagRange("gpu_memory_fraction",
                                 options.gpu_memory_fraction, 0.01, 1.0));
  RETURN_IF_ERROR(CheckFlagRange("warm_up", options.warm_up, 0.0, 600.0));
  return CheckFlagRange("drain_timeout", options.drain_timeout, 0.0, 86400.0);
}

}  // namespace

FlagSet ServerFlags(ServerOptions& options) {
  FlagSet flags;
  flags.Add("model", &options.model,
            "Folder of a quantized model, as anyprec-quantize writes it; with "
            "--max_bits=16 a HuggingFace folder or GGUF file; or "
            "synthetic:NAME for random weights of a known shape.");
  flags.Add("host", &options.host,
            "Address to listen on; 0.0.0.0 for all of this machine's.");
  flags.Add("port", &options.port, "TCP port; 0 takes a free one.");
  flags.Add("port_file", &options.port_file,
            "File to write the port to, once the server answers.");
  flags.Add("metrics_host", &options.metrics_host,
            "Address for Prometheus; empty takes --host.");
  flags.Add("metrics_port", &options.metrics_port,
            "TCP port for Prometheus, which finds the metrics at /metrics; 0 "
            "takes a free one, -1 none.");
  flags.Add("metrics_port_file", &options.metrics_port_file,
            "File to write the metrics port to.");
  flags.Add("admin_host", &options.admin_host,
            "Address for AdminService. It asks for no credentials: keep it to "
            "this machine.");
  flags.Add("admin_port", &options.admin_port,
            "TCP port for AdminService; 0 takes a free one, -1 none.");
  flags.Add("admin_port_file", &options.admin_port_file,
            "File to write the admin port to.");
  flags.Add("device", &options.device,
            "Where to compute; auto takes CUDA if there is any.",
            {"auto", "cpu", "cuda"});
  flags.Add("max_bits", &options.max_bits,
            "Highest precision to load; what lies above is never read, which "
            "saves memory. 16: an unquantized model, served in fp32 at that "
            "precision alone, to compare with.");
  flags.Add("threads", &options.threads,
            "CPU threads to compute with; 0 takes one for each core.");
  flags.Add("pin_threads", &options.pin_threads,
            "Bind each compute thread to a core. Good on a machine of its own, "
            "bad on a shared one.");
  flags.Add("compute", &options.compute,
            "Arithmetic on the CPU: int16 is faster (and prompts are computed "
            "in bf16 with AMX, up to 4 bits in int8 with AVX-512); fp32 is "
            "exact, and the same on every machine but for rounding.",
            {"int16", "fp32"});
  flags.Add("cuda_graphs", &options.cuda_graphs,
            "On CUDA, launch a step of answers as one graph, recorded when a "
            "step of its size first comes. Answers are the same either way.");
  flags.Add("max_sequences", &options.max_sequences,
            "Sequences that share a step; the others wait.");
  flags.Add("max_queued_requests", &options.max_queued_requests,
            "Requests that may wait; more are refused.");
  flags.Add("max_queue_time", &options.max_queue_time,
            "Seconds of predicted work before a new request's first token; a "
            "request that finds more is refused, and told when to come back. "
            "Those of higher priority that come after it go first all the "
            "same.");
  flags.Add("max_context", &options.max_context,
            "Tokens of prompt and answer together; 0 takes the model's.");
  flags.Add("prefill_chunk", &options.prefill_chunk,
            "Prompt tokens in one step. Smaller chunks smooth the latency of "
            "running answers, larger ones shorten the time to first token.");
  flags.Add("policy", &options.policy,
            "How requests without a fixed precision get one: slo takes the "
            "highest that keeps their deadlines at the load of the moment; "
            "fixed:BITS and load-ladder[:REQUESTS] are there to compare with.");
  flags.Add("kv_cache_gb", &options.kv_cache_gb,
            "Memory for keys and values in GB (10^9 bytes); 0 takes what "
            "max_sequences contexts need, at most an eighth of the machine's "
            "or its container's memory, on CUDA at most what "
            "--gpu_memory_fraction leaves instead.");
  flags.Add("gpu_memory_fraction", &options.gpu_memory_fraction,
            "Share of a CUDA device's memory that may be in use, by this "
            "server and others, once keys and values have theirs, where "
            "--kv_cache_gb is 0.");
  flags.Add("speculation", &options.speculation,
            "For requests that do not say: auto drafts tokens at low precision "
            "and verifies them at the request's own, where that is predicted "
            "to be faster.",
            {"off", "auto"});
  flags.Add("prefix_cache", &options.prefix_cache,
            "Keep the keys and values of prompts, as long as there is room, "
            "for prompts that begin alike.");
  flags.Add(
      "warm_up", &options.warm_up,
      "Seconds to measure step times before serving, from which automatic "
      "precision predicts; 0 learns from the first requests instead.");
  flags.Add("step_cost_cache", &options.step_cost_cache,
            "Folder that keeps what warm_up measured, for the next start with "
            "this model, device, number of threads, warm_up, max_sequences and "
            "prefill_chunk, which then measures nothing; empty keeps nothing.");
  flags.Add("drain_timeout", &options.drain_timeout,
            "Seconds that running requests have to end after SIGTERM.");
  flags.Add("log_level", &options.log_level,
            "How much to write to stderr; info has a line for each request.",
            {"debug", "info", "warn", "error"});
  flags.Add("config", &options.config,
            "JSON file with any of these flags as keys; the command line "
            "wins.");
  flags.Add("probe", &options.probe,
            "HOST:PORT of a server: ask for its health and exit, with 0 if it "
            "serves and 1 if not.");
  flags.Add("version", &options.version, "Print the version and exit.");
  flags.Add("help", &options.help, "Print this and exit.");
  return flags;
}

absl::StatusOr<ServerOptions> ParseServerOptions(
    std::span<const std::string> arguments) {
  ServerOptions options;
  FlagSet flags = ServerFlags(options);
  // Twice: the first pass finds --config, the second lets the flags win.
  RETURN_IF_ERROR(flags.Parse(arguments).status());
  if (!options.config.empty()) {
    ASSIGN_OR_RETURN(const std::string json, ReadFile(options.config));
    const std::string path = options.config;
    RETURN_IF_ERROR(flags.SetFromJson(json, path));
    if (options.config != path) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": has \"config\"; one file cannot name another"));
    }
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> positional,
                   flags.Parse(arguments));
  if (!positional.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("unexpected argument \"", positional[0],
                     "\"; all options are flags (--name=value)"));
  }
  RETURN_IF_ERROR(Validate(options));
  return options;
}

}  // namespace anyprec
