// `anyprec admin`: the operator's calls.

#include <google/protobuf/util/json_util.h>

#include <cstdio>
#include <optional>
#include <string>

#include "absl/strings/str_format.h"
#include "anyprec/v1/admin_service.grpc.pb.h"
#include "server/client/commands.h"
#include "server/client/standard_output.h"
#include "server/client_channel.h"

namespace anyprec {
namespace {

constexpr char kAdminUsage[] =
    "Usage: anyprec admin stats|set-limits|set-power|drain [FLAGS]\n\n"
    "Talks to a server's AdminService, on its --admin_port.\n\n"
    "  stats       counts, limits, power, and what steps cost\n"
    "  set-limits  narrow automatic precisions to --min_bits and --max_bits;\n"
    "              without them, back to the model's range\n"
    "  set-power   keep the device at --watts; without, remove the budget\n"
    "  drain       take no more work, and end when what runs has ended";

struct AdminFlags {
  CommonFlags common{.address = "127.0.0.1:50052"};
  std::optional<int> min_bits;
  std::optional<int> max_bits;
  std::optional<double> watts;
};

std::string RangeToText(const v1::PrecisionLimits& limits) {
  return absl::StrFormat("%d to %d bits", limits.min_bits(), limits.max_bits());
}

std::string ToText(const v1::PowerState& power) {
  std::string text =
      power.has_watts()
          ? absl::StrFormat("%.1f W (%s)", power.watts(), power.meter())
          : absl::StrFormat("unknown (%s)", power.meter());
  if (power.has_budget_watts()) {
    absl::StrAppendFormat(&text, ", budget %g W: at most %d bits",
                          power.budget_watts(), power.cap_bits());
  }
  return text;
}

void AppendBits(const char* of_what,
                const google::protobuf::RepeatedPtrField<v1::BitsCount>& counts,
                std::string& text) {
  for (const v1::BitsCount& count : counts) {
    absl::StrAppendFormat(&text, "  %s  %2d bits  %d\n", of_what, count.bits(),
                          count.tokens());
  }
}

std::string ToText(const v1::GetStatsResponse& stats) {
  const v1::ServerState& state = stats.state();
  const v1::StepCostModel& model = stats.step_cost_model();
  std::string text = absl::StrFormat(
      "requests   %d running, %d waiting, %d preempted\n"
      "KV blocks  %d of %d free\n"
      "tokens     %d of prompts, %d found in the prefix cache, %d generated\n"
      "drafts     %d verified, %d accepted\n",
      state.running_requests(), state.waiting_requests(), stats.preemptions(),
      state.kv_blocks_free(), state.kv_blocks_total(), state.prompt_tokens(),
      state.prefix_cache_hits(), state.generated_tokens(), state.draft_tokens(),
      state.accepted_draft_tokens());
  AppendBits("prompts", stats.prompt_tokens_by_bits(), text);
  AppendBits("answers", stats.generated_tokens_by_bits(), text);
  absl::StrAppendFormat(
      &text,
      "precision  %s in force, %s by the operator; %d raises, %d drops\n"
      "power      %s\n"
      "steps      %d; predicted %.1f ms, measured %.1f ms\n",
      RangeToText(stats.limits_in_force()),
      RangeToText(stats.operator_limits()), stats.precision_raises(),
      stats.precision_drops(), ToText(stats.power()), state.steps(),
      model.predicted_ms_total(), model.measured_ms_total());
  for (const v1::StepCost& cost : model.costs()) {
    absl::StrAppendFormat(
        &text, "  %-7s  %2d bits  %4d rows  measured %.3f ms, now %.3f ms\n",
        cost.phase() == v1::STEP_PHASE_DECODE ? "decode" : "prefill",
        cost.bits(), cost.rows(), cost.measured_ms(), cost.predicted_ms());
  }
  return text;
}

std::string ToText(const v1::SetPrecisionLimitsResponse& response) {
  return RangeToText(response.limits_in_force()) + " in force\n";
}

std::string ToText(const v1::SetPowerBudgetResponse& response) {
  return ToText(response.power()) + "\n";
}

std::string ToText(const v1::DrainResponse& response) {
  return absl::StrFormat("draining: %d requests running, %d waiting\n",
                         response.running_requests(),
                         response.waiting_requests());
}

template <typename Request, typename Response>
using Method = grpc::Status (v1::AdminService::Stub::*)(grpc::ClientContext*,
                                                        const Request&,
                                                        Response*);

template <typename Request, typename Response>
int CallAdmin(Method<Request, Response> method, const Request& request,
              const CommonFlags& common) {
  const auto stub = v1::AdminService::NewStub(NewClientChannel(common.address));
  CallContext context(common.address,
                      CallTimeout(common, /*deadline_ms=*/std::nullopt));
  Response response;
  const grpc::Status status =
      context.Explain(((*stub).*method)(context.get(), request, &response));
  if (!status.ok()) return ReportError(status, common);
  std::string text;
  if (common.json) {
    google::protobuf::util::JsonPrintOptions options;
    options.preserve_proto_field_names = true;
    options.always_print_primitive_fields = true;
    if (!google::protobuf::util::MessageToJsonString(response, &text, options)
             .ok()) {
      return kExitFailure;
    }
    text += "\n";
  } else {
    text = ToText(response);
  }
  Print(text);
  return kExitOk;
}

int Run(const std::string& action, const AdminFlags& flags) {
  using Stub = v1::AdminService::Stub;
  if (action == "stats") {
    return CallAdmin(&Stub::GetStats, v1::GetStatsRequest(), flags.common);
  }
  if (action == "set-limits") {
    v1::SetPrecisionLimitsRequest request;
    if (flags.min_bits.has_value()) request.set_min_bits(*flags.min_bits);
    if (flags.max_bits.has_value()) request.set_max_bits(*flags.max_bits);
    return CallAdmin(&Stub::SetPrecisionLimits, request, flags.common);
  }
  if (action == "set-power") {
    v1::SetPowerBudgetRequest request;
    if (flags.watts.has_value()) request.set_watts(*flags.watts);
    return CallAdmin(&Stub::SetPowerBudget, request, flags.common);
  }
  if (action == "drain") {
    return CallAdmin(&Stub::Drain, v1::DrainRequest(), flags.common);
  }
  std::fprintf(stderr, "anyprec: there is no \"admin %s\"\n\n%s\n",
               action.c_str(), kAdminUsage);
  return kExitWrongUsage;
}

}  // namespace

int RunAdmin(std::span<const std::string> arguments) {
  AdminFlags admin;
  FlagSet flags;
  AddCommonFlags(admin.common, flags);
  flags.Add("min_bits", &admin.min_bits, "set-limits: lowest precision.");
  flags.Add("max_bits", &admin.max_bits, "set-limits: highest precision.");
  flags.Add("watts", &admin.watts, "set-power: power of the device.");
  int exit_code = kExitOk;
  const auto words =
      ParseArguments(arguments, kAdminUsage, admin.common, flags, exit_code);
  if (!words.has_value()) return exit_code;
  if (words->size() != 1) {
    std::fprintf(stderr, "%s\n", kAdminUsage);
    return kExitWrongUsage;
  }
  return Run(words->front(), admin);
}

}  // namespace anyprec
