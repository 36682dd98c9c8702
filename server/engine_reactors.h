// gRPC reactors for the RPCs that the engine answers.
//
// A reactor moves output from the engine to the call and frees itself when gRPC
// is done with it. Nothing waits: the engine's thread posts to the delivery
// thread, which alone touches a reactor's state and starts its writes. A client
// that goes away cancels the engine's work.
#ifndef ANYPREC_SERVER_ENGINE_REACTORS_H_
#define ANYPREC_SERVER_ENGINE_REACTORS_H_

#include <grpcpp/support/server_callback.h>

#include <memory>
#include <string>

#include "anyprec/v1/inference_service.pb.h"
#include "server/delivery_thread.h"
#include "server/metrics.h"
#include "server/open_calls.h"
#include "server/sample_streams.h"
#include "server/served_model.h"

namespace anyprec {

// The submitted work of one call.
struct EngineCall {
  Request request;  // as it was submitted
  std::string traceparent;
  std::unique_ptr<SampleStreams> streams;
  const ServedModel& model;  // this and the next two outlive the call
  DeliveryThread& delivery;
  Metrics& metrics;
  OpenCalls::Entry open;
};

grpc::ServerWriteReactor<v1::GenerateResponse>* NewGenerateReactor(
    EngineCall call, bool echo);

grpc::ServerUnaryReactor* NewGenerateUnaryReactor(
    EngineCall call, bool echo, v1::GenerateUnaryResponse* response);

grpc::ServerUnaryReactor* NewScoreReactor(EngineCall call, int context_tokens,
                                          v1::ScoreResponse* response);

}  // namespace anyprec

#endif  // ANYPREC_SERVER_ENGINE_REACTORS_H_
