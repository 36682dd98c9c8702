// Metrics: the server's numbers for Prometheus, under the names that vLLM uses,
// with our prefix.
//
// Two sources. What requests met is observed here as each of them ends; what
// the engine counts already is converted from Engine::Stats() at each scrape,
// so that nothing is counted twice.
//
// Thread-safe.
#ifndef ANYPREC_SERVER_METRICS_H_
#define ANYPREC_SERVER_METRICS_H_

#include <memory>

#include "absl/status/status.h"
#include "runtime/engine/engine.h"
#include "runtime/scheduler/precision_policy.h"
#include "runtime/scheduler/request.h"

namespace prometheus {
class Collectable;
}  // namespace prometheus

namespace anyprec {

class Metrics {
 public:
  Metrics();
  ~Metrics();

  // Adds the engine's numbers; its model has the precisions in `loaded`.
  // DetachEngine() waits for a scrape that reads them, and is to be called
  // before `engine` goes.
  void AttachEngine(const Engine& engine, const PrecisionLimits& loaded);
  void DetachEngine();

  // One sample of a request has ended.
  void ObserveFinish(const Request& request, const Finish& finish);

  // A request was not accepted, for the reason that is attached to `status`,
  // or else its code.
  void ObserveRefusal(const absl::Status& status);

  // What a scrape reads.
  std::shared_ptr<prometheus::Collectable> collectable() const;

 private:
  class Families;

  // Shared because Prometheus' library holds weak references.
  const std::shared_ptr<Families> families_;
};

}  // namespace anyprec

#endif  // ANYPREC_SERVER_METRICS_H_
