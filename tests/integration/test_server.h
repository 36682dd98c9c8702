// The real server binary on a free port of the loopback interface.
#ifndef ANYPREC_TESTS_INTEGRATION_TEST_SERVER_H_
#define ANYPREC_TESTS_INTEGRATION_TEST_SERVER_H_

#include <grpcpp/channel.h>

#include <memory>
#include <string>
#include <vector>

#include "anyprec/v1/inference_service.grpc.pb.h"
#include "tests/integration/child_process.h"

namespace anyprec {

// Where the test finds the binaries, below its runfiles.
inline constexpr char kServerBinary[] = "server/anyprec-server";
inline constexpr char kEmulatedServerBinary[] =
    "tests/integration/emulated-server";
inline constexpr char kClientBinary[] = "server/client/anyprec";
inline constexpr char kQuantizeBinary[] = "quantize/anyprec-quantize";
inline constexpr char kTinyLlama[] = "tests/testdata/tiny-llama";

// A model of 135 M random weights: slow enough that a long answer cannot end
// before a test has cancelled it, and large enough to see in resident memory.
inline constexpr char kSyntheticModel[] = "synthetic:smollm2-135m";

// tiny-llama as a parent model of 3 to 8 bits; quantized at the first call.
const std::string& QuantizedTinyLlama();

// A file's first word, such as the number in a port file; "" if there is none.
std::string ReadWord(const std::string& path);

class TestServer {
 public:
  // Returns when the server answers; the test fails where it does not.
  explicit TestServer(const std::string& model,
                      const std::vector<std::string>& more_flags = {},
                      const std::string& binary = kServerBinary);

  const std::string& address() const { return address_; }
  ChildProcess& process() { return process_; }
  v1::InferenceService::Stub& stub() { return *stub_; }
  const std::shared_ptr<grpc::Channel>& channel() { return channel_; }

  v1::GetModelResponse GetModel();

  // Polls until no request is running or waiting and every KV block is free;
  // returns the state then, or the last one seen if that never comes.
  v1::ServerState WaitUntilIdle();

 private:
  ChildProcess process_;
  std::string address_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::InferenceService::Stub> stub_;
};

// The whole answer of one Generate call.
struct Answer {
  grpc::Status status;
  std::string text;
  std::vector<v1::GenerateResponse> pieces;
  v1::Finish finish;
  v1::PromptInfo prompt;
  std::vector<int> ids;   // of each token
  std::vector<int> bits;  // of each token
};
Answer Generate(v1::InferenceService::Stub& stub,
                const v1::GenerateRequest& request);

v1::GenerateRequest GreedyRequest(const std::string& text, int max_tokens);

}  // namespace anyprec

#endif  // ANYPREC_TESTS_INTEGRATION_TEST_SERVER_H_
