#include "runtime/engine/engine.h"

#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/status_macros.h"
#include "runtime/engine/engine_loop.h"
#include "runtime/engine/model_runner.h"
#include "runtime/engine/warm_up.h"

namespace anyprec {
namespace {

static_assert(kUnquantizedBits < std::tuple_size_v<BitsHistogram>);

// Logits of a scored prompt's chunk may take this much: some 330 rows of a
// vocabulary of 49k, enough to keep the matrix products efficient.
constexpr size_t kMaxPromptLogitBytes = size_t{64} << 20;

class LlamaRunner : public ModelRunner {
 public:
  LlamaRunner(std::unique_ptr<Backend> backend,
              std::unique_ptr<LlamaModel> model, std::unique_ptr<KvStorage> kv)
      : backend_(std::move(backend)),
        model_(std::move(model)),
        kv_(std::move(kv)) {}

  absl::StatusOr<StepOutput> Execute(const StepPlan& plan) override {
    const StepInput input = {.tokens = plan.tokens,
                             .sequences = plan.sequences,
                             .groups = plan.groups,
                             .logit_rows = plan.logit_rows,
                             .draws = plan.draws};
    return model_->Forward(input, *kv_);
  }

  const LlamaModel& model() const { return *model_; }

 private:
  // Destroyed in the reverse order: the backend, which owns the memory, last.
  const std::unique_ptr<Backend> backend_;
  const std::unique_ptr<LlamaModel> model_;
  const std::unique_ptr<KvStorage> kv_;
};

class LlamaEngine : public Engine {
 public:
  LlamaEngine(const Backend& backend, const LlamaModel& model,
              int max_context_tokens, std::unique_ptr<EngineLoop> loop)
      : backend_(backend),
        model_(model),
        max_context_tokens_(max_context_tokens),
        loop_(std::move(loop)) {}

  absl::Status Admit(const AdmissionQuery& query) override {
    return loop_->Admit(query);
  }
  absl::StatusOr<std::unique_ptr<ResponseStream>> Submit(
      Request request) override {
    return loop_->Submit(std::move(request));
  }
  absl::Status SetPrecisionLimits(const PrecisionLimits& limits) override {
    return loop_->SetPrecisionLimits(limits);
  }
  const LlamaModel& model() const override { return model_; }
  EngineStats Stats() const override {
    EngineStats stats = loop_->Stats();
    stats.steps_without_record = backend_.StepsWithoutRecord();
    return stats;
  }
  int max_context_tokens() const override { return max_context_tokens_; }
  absl::Status Health() const override { return loop_->Health(); }
  void Drain(absl::Time deadline) override { loop_->Drain(deadline); }

 private:
  // The loop's runner owns both.
  const Backend& backend_;
  const LlamaModel& model_;
  const int max_context_tokens_;
  const std::unique_ptr<EngineLoop> loop_;
};

absl::Status ValidateOptions(const EngineOptions& options,
                             const LlamaModel& model) {
  const auto positive = [](absl::string_view name, int value) {
    if (value > 0) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": ", value, ", needs 1 or more"));
  };
  RETURN_IF_ERROR(positive("max_sequences", options.max_sequences));
  RETURN_IF_ERROR(
      positive("prefill_chunk_tokens", options.prefill_chunk_tokens));
  RETURN_IF_ERROR(positive("kv_block_tokens", options.kv_block_tokens));
  if (!(options.gpu_memory_fraction > 0 && options.gpu_memory_fraction <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("gpu_memory_fraction: ", options.gpu_memory_fraction,
                     ", needs (0, 1]"));
  }
  if (options.max_queued_requests < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_queued_requests: ", options.max_queued_requests,
                     ", needs 0 or more"));
  }
  if (options.max_context_tokens < 0 ||
      options.max_context_tokens > model.max_context_tokens()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "max_context_tokens: ", options.max_context_tokens, ", needs [0, ",
        model.max_context_tokens(), "], what the model was loaded for"));
  }
  if (options.policy.kind == PrecisionPolicy::Kind::kFixed &&
      (options.policy.bits < model.seed_bits() ||
       options.policy.bits > model.max_bits())) {
    return absl::InvalidArgumentError(
        absl::StrCat("policy: ", ToString(options.policy), ", the model has ",
                     model.seed_bits(), " to ", model.max_bits(), " bits"));
  }
  return absl::OkStatus();
}

size_t KvBlockBytes(const KvLayout& layout, KvType type) {
  const size_t bytes = type == KvType::kFloat32 ? 4 : 2;
  return size_t{2} * layout.layers * layout.kv_heads * layout.head_dim *
         layout.block_tokens * bytes;
}

size_t MachineMemoryBytes() {
  const int64_t pages = sysconf(_SC_PHYS_PAGES);
  const int64_t page_bytes = sysconf(_SC_PAGE_SIZE);
  return pages > 0 && page_bytes > 0 ? static_cast<size_t>(pages * page_bytes)
                                     : std::numeric_limits<size_t>::max();
}

// What the KV cache may take of the memory of a device, everything else being
// there.
absl::StatusOr<size_t> BytesLeft(const DeviceMemoryInfo& device,
                                 double fraction) {
  const auto budget =
      static_cast<size_t>(fraction * static_cast<double>(device.total_bytes));
  const size_t used = device.total_bytes - device.free_bytes;
  if (used >= budget) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "gpu_memory_fraction: ", fraction, " of ", device.total_bytes,
        " bytes leaves nothing for the KV cache; ", used, " are in use"));
  }
  return budget - used;
}

absl::StatusOr<size_t> KvCacheBytes(const EngineOptions& options,
                                    Backend& backend) {
  if (options.kv_cache_bytes > 0) return options.kv_cache_bytes;
  ASSIGN_OR_RETURN(const std::optional<DeviceMemoryInfo> device,
                   backend.GetDeviceMemoryInfo());
  if (device.has_value()) {
    return BytesLeft(*device, options.gpu_memory_fraction);
  }
  const size_t machine = MachineMemoryBytes();
  return (options.memory_bytes > 0 ? std::min(options.memory_bytes, machine)
                                   : machine) /
         8;
}

absl::StatusOr<int> NumKvBlocks(const EngineOptions& options, int context,
                                const LlamaModel& model, Backend& backend) {
  const size_t block_bytes = KvBlockBytes(
      model.KvLayoutFor(options.kv_block_tokens, 1), options.kv_type);
  const int64_t blocks_per_context =
      (context + options.kv_block_tokens - 1) / options.kv_block_tokens;
  const int64_t wanted = blocks_per_context * options.max_sequences;
  ASSIGN_OR_RETURN(const size_t bytes, KvCacheBytes(options, backend));
  const int64_t room = static_cast<int64_t>(bytes / block_bytes);
  if (room < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.kv_cache_bytes > 0 ? "kv_cache_bytes: "
                                                : "room for the KV cache: ",
                     bytes, ", one block of ", options.kv_block_tokens,
                     " tokens needs ", block_bytes));
  }
  return static_cast<int>(
      std::min<int64_t>({wanted, room, std::numeric_limits<int>::max()}));
}

std::vector<TokenId> EosIds(const LlamaModel& model,
                            const Tokenizer* tokenizer) {
  std::vector<TokenId> ids = model.config().eos_token_ids;
  if (tokenizer != nullptr) {
    ids.insert(ids.end(), tokenizer->eos_ids().begin(),
               tokenizer->eos_ids().end());
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

int MaxPromptLogitRows(int vocab_size) {
  const size_t rows =
      kMaxPromptLogitBytes / (sizeof(float) * static_cast<size_t>(vocab_size));
  return static_cast<int>(std::clamp<size_t>(rows, 16, 4096));
}

// Takes what the largest step needs before the KV cache takes what is left,
// where the backend has a device's memory to share out.
absl::Status ReserveMemory(const EngineOptions& options, int context,
                           Backend& backend, LlamaModel& model) {
  ASSIGN_OR_RETURN(const std::optional<DeviceMemoryInfo> device,
                   backend.GetDeviceMemoryInfo());
  if (!device.has_value()) return absl::OkStatus();
  // A sequence that speculates verifies all its drafts in one step.
  const int decode_rows = options.max_sequences * (kMaxDraftTokens + 1);
  return model.ReserveMemory(
      {.rows = options.prefill_chunk_tokens + decode_rows,
       .sequences = options.max_sequences,
       .positions = context,
       .block_tokens = options.kv_block_tokens},
      MaxPromptLogitRows(model.config().vocab_size) + decode_rows);
}

EngineLoopOptions LoopOptions(const EngineOptions& options, int context,
                              int kv_blocks, const LlamaModel& model,
                              const Tokenizer* tokenizer) {
  const int vocab_size = model.config().vocab_size;
  EngineLoopOptions loop;
  loop.scheduler.max_sequences = options.max_sequences;
  loop.scheduler.prefill_chunk_tokens = options.prefill_chunk_tokens;
  loop.scheduler.max_prompt_logit_rows = MaxPromptLogitRows(vocab_size);
  loop.scheduler.prefix_cache = options.prefix_cache;
  loop.scheduler.drafts.speculate = options.speculate;
  loop.scheduler.drafts.bits = {model.seed_bits(), model.max_bits()};
  loop.scheduler.policy = options.policy;
  loop.limits.vocab_size = vocab_size;
  loop.limits.min_bits = model.seed_bits();
  loop.limits.max_bits = model.max_bits();
  loop.limits.max_context_tokens = context;
  loop.limits.has_tokenizer = tokenizer != nullptr;
  loop.limits.eos_ids = EosIds(model, tokenizer);
  loop.max_queued_requests = options.max_queued_requests;
  loop.max_queue_time = options.max_queue_time;
  loop.kv_blocks = kv_blocks;
  loop.kv_block_tokens = options.kv_block_tokens;
  return loop;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(
    const EngineOptions& options, std::unique_ptr<Backend> backend,
    std::unique_ptr<LlamaModel> model, const Tokenizer* tokenizer) {
  RETURN_IF_ERROR(ValidateOptions(options, *model));
  int context = options.max_context_tokens > 0 ? options.max_context_tokens
                                               : model->max_context_tokens();
  RETURN_IF_ERROR(ReserveMemory(options, context, *backend, *model));
  ASSIGN_OR_RETURN(const int kv_blocks,
                   NumKvBlocks(options, context, *model, *backend));
  // No request is accepted that the cache could never hold.
  context = static_cast<int>(
      std::min<int64_t>(context, int64_t{kv_blocks} * options.kv_block_tokens));
  ASSIGN_OR_RETURN(std::unique_ptr<KvStorage> kv,
                   backend->AllocateKv(
                       model->KvLayoutFor(options.kv_block_tokens, kv_blocks),
                       options.kv_type));
  const EngineLoopOptions loop_options =
      LoopOptions(options, context, kv_blocks, *model, tokenizer);
  const Backend& own_backend = *backend;
  const LlamaModel& loaded = *model;
  auto runner = std::make_unique<LlamaRunner>(std::move(backend),
                                              std::move(model), std::move(kv));
  StepCostModel costs;
  if (options.step_costs.has_value()) {
    costs = *options.step_costs;
  } else {
    WarmUpOptions warm_up;
    warm_up.min_bits = loop_options.limits.min_bits;
    warm_up.max_bits = loop_options.limits.max_bits;
    warm_up.max_decode_rows = options.max_sequences;
    warm_up.max_prefill_rows = std::min(options.prefill_chunk_tokens, context);
    warm_up.max_context_tokens = context;
    warm_up.kv_blocks = kv_blocks;
    warm_up.kv_block_tokens = options.kv_block_tokens;
    warm_up.time_limit = options.warm_up;
    ASSIGN_OR_RETURN(costs, MeasureStepCosts(*runner, warm_up));
  }
  return std::make_unique<LlamaEngine>(
      own_backend, loaded, context,
      std::make_unique<EngineLoop>(loop_options, std::move(runner), tokenizer,
                                   std::move(costs)));
}

}  // namespace anyprec
