load(":cuda_configure.bzl", "cuda_repository")
load(":offline.bzl", "offline_rule_repositories")
load(":pkg_config.bzl", "pkg_config_repository")

_HEADER_ONLY = """
# Header-only: nlohmann-json always is, and Debian has no archive of spdlog and fmt.
cc_library(name = "json")
cc_library(name = "spdlog", defines = ["SPDLOG_FMT_EXTERNAL", "FMT_HEADER_ONLY"])
"""

def anyprec_repositories():
    offline_rule_repositories()
    pkg_config_repository(
        name = "system",
        libraries = {
            "absl": [
                "absl_any_invocable",
                "absl_base",
                "absl_btree",
                "absl_cleanup",
                "absl_core_headers",
                "absl_failure_signal_handler",
                "absl_flags",
                "absl_flags_parse",
                "absl_flags_usage",
                "absl_flat_hash_map",
                "absl_flat_hash_set",
                "absl_function_ref",
                "absl_hash",
                "absl_inlined_vector",
                "absl_random_random",
                "absl_span",
                "absl_status",
                "absl_statusor",
                "absl_str_format",
                "absl_strings",
                "absl_symbolize",
                "absl_synchronization",
                "absl_time",
                "absl_type_traits",
            ],
            "benchmark": ["benchmark"],
            "grpc": ["grpc++", "protobuf"],
            "gtest": ["gmock", "gtest"],
            "gtest_main": ["gmock", "gtest_main"],
            "hwy": ["libhwy"],
            "pcre2": ["libpcre2-8"],
            "prometheus": ["prometheus-cpp-pull"],
            "sentencepiece": ["sentencepiece"],
        },
        # Not in Debian's grpc++.pc, and without a file of its own.
        extra_libs = {"grpc": ["-lgrpc++_reflection"]},

        # Nothing of ours speaks TLS: without it, and the OpenSSL behind it, a program is 7 MB
        # smaller. Shared, libgrpc++_reflection.so brings the other flavour along. Debian's .pc does
        # not name what the archive needs.
        static_libraries = {"grpc": ["grpc++_unsecure", "protobuf", "libcares", "zlib"]},
        static_extra_libs = {"grpc": ["-laddress_sorting", "-lupb"]},
        tools = ["grpc_cpp_plugin", "protoc"],
        build_file_content = _HEADER_ONLY,
    )
    cuda_repository(name = "local_cuda")
