#include "server/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

namespace anyprec {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

absl::StatusOr<ServerOptions> Parse(std::vector<std::string> arguments) {
  return ParseServerOptions(arguments);
}

std::string ErrorOf(std::vector<std::string> arguments) {
  const auto options = Parse(std::move(arguments));
  return options.ok() ? "no error" : std::string(options.status().message());
}

std::string ConfigFile(const std::string& content) {
  std::string path = ::testing::TempDir() + "/config.json";
  std::ofstream(path) << content;
  return path;
}

TEST(ServerOptionsTest, FlagsFillTheOptions) {
  const auto options =
      Parse({"--model=/m", "--port", "0", "--pin_threads", "--device=cpu",
             "--cuda_graphs=false", "--kv_cache_gb=1.5"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->model, "/m");
  EXPECT_EQ(options->port, 0);
  EXPECT_TRUE(options->pin_threads);
  EXPECT_EQ(options->device, "cpu");
  EXPECT_FALSE(options->cuda_graphs);
  EXPECT_EQ(options->kv_cache_gb, 1.5);
  EXPECT_EQ(options->host, "127.0.0.1");
}

TEST(ServerOptionsTest, MistakesNameFlagValueAndWhatIsAllowed) {
  EXPECT_THAT(ErrorOf({}), HasSubstr("--model is missing"));
  EXPECT_THAT(ErrorOf({"--model=m", "--prot=1"}),
              AllOf(HasSubstr("unknown flag --prot"),
                    HasSubstr("did you mean --port?")));
  EXPECT_THAT(ErrorOf({"--model=m", "--port=x"}),
              HasSubstr("--port is \"x\"; must be an integer"));
  EXPECT_THAT(ErrorOf({"--model=m", "--port=65536"}),
              HasSubstr("--port is 65536; must be in [0, 65535]"));
  EXPECT_THAT(ErrorOf({"--model=m", "--metrics_port=-2"}),
              HasSubstr("--metrics_port is -2; must be in [-1, 65535]"));
  EXPECT_THAT(ErrorOf({"--model=m", "--admin_port=65536"}),
              HasSubstr("--admin_port is 65536; must be in [-1, 65535]"));
  EXPECT_THAT(ErrorOf({"--model=m", "--device=tpu"}),
              HasSubstr("--device is \"tpu\"; must be one of auto, cpu, cuda"));
  EXPECT_THAT(ErrorOf({"--model=m", "--max_bits=1"}),
              HasSubstr("--max_bits is 1"));
  EXPECT_THAT(ErrorOf({"--model=m", "--kv_cache_gb=nan"}),
              HasSubstr("--kv_cache_gb"));
  EXPECT_THAT(ErrorOf({"--model=m", "--gpu_memory_fraction=1.5"}),
              HasSubstr("--gpu_memory_fraction is 1.5"));
  EXPECT_THAT(ErrorOf({"--model"}), HasSubstr("--model needs a value"));
  EXPECT_THAT(ErrorOf({"--model=m", "stray"}), HasSubstr("\"stray\""));
}

TEST(ServerOptionsTest, ModelIsNotNeededToPrintOrToProbe) {
  EXPECT_TRUE(Parse({"--version"}).ok());
  EXPECT_TRUE(Parse({"--help"}).ok());
  EXPECT_TRUE(Parse({"--probe=127.0.0.1:1"}).ok());
}

TEST(ServerOptionsTest, FlagsWinOverTheConfigFile) {
  const std::string path =
      ConfigFile(R"({"model": "/from/file", "port": 7, "pin_threads": true})");
  const auto options = Parse({"--config=" + path, "--port=8"});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->model, "/from/file");
  EXPECT_EQ(options->port, 8);
  EXPECT_TRUE(options->pin_threads);
}

TEST(ServerOptionsTest, ConfigFileMistakesNameTheFileAndTheKey) {
  EXPECT_THAT(ErrorOf({"--config=" + ConfigFile(R"({"prot": 1})")}),
              AllOf(HasSubstr("config.json"), HasSubstr("\"prot\"")));
  EXPECT_THAT(ErrorOf({"--config=" + ConfigFile(R"({"port": "x"})")}),
              AllOf(HasSubstr("config.json"), HasSubstr("--port")));
  EXPECT_THAT(ErrorOf({"--config=" + ConfigFile(R"({"port": [{}]})")}),
              HasSubstr("\"port\" is a JSON array"));
  const std::string deep(100'000, '[');
  EXPECT_THAT(
      ErrorOf({"--config=" + ConfigFile(R"({"port": )" + deep +
                                        std::string(100'000, ']') + "}")}),
      AllOf(HasSubstr("config.json"), HasSubstr("nests deeper")));
  EXPECT_THAT(ErrorOf({"--config=" + ConfigFile("")}),
              HasSubstr("not valid JSON at byte 1"));
  EXPECT_THAT(ErrorOf({"--config=" + ConfigFile("{\"port\": 1,}")}),
              HasSubstr("not valid JSON at byte 12"));
  EXPECT_THAT(ErrorOf({"--config=" + ConfigFile("[]")}),
              HasSubstr("needed is an object"));
  EXPECT_THAT(ErrorOf({"--config=" + ConfigFile(R"({"port": 1, "port": 2})")}),
              HasSubstr("the key \"port\" twice"));
  EXPECT_THAT(ErrorOf({"--config=" + ConfigFile(R"({"model": "a\u0000b"})")}),
              AllOf(HasSubstr("\"model\""), HasSubstr("with a NUL")));
  EXPECT_THAT(ErrorOf({"--config=/no/such/file"}), HasSubstr("/no/such/file"));
  EXPECT_THAT(ErrorOf({"--config=" + ::testing::TempDir()}),
              HasSubstr(::testing::TempDir()));
}

TEST(ServerOptionsTest, HelpShowsNamesChoicesAndDefaults) {
  ServerOptions options;
  const std::string help = ServerFlags(options).Help();
  EXPECT_THAT(help, HasSubstr("--device=auto|cpu|cuda  (default: auto)"));
  EXPECT_THAT(help, HasSubstr("--port  (default: 50051)"));
}

}  // namespace
}  // namespace anyprec
