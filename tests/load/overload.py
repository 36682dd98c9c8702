#!/usr/bin/env python3
"""What an overload of a server does to it.

    bazel build -c opt //server:anyprec-server //tests/load:anyprec-loadtest
    tests/load/overload.py --server=bazel-bin/server/anyprec-server \\
        --loadtest=bazel-bin/tests/load/anyprec-loadtest --model=MODEL \\
        --classes=tests/load/classes/chat_cpu.json --saturating_rates=6,9,12 --rate=60

Loads a server at rates about its capacity, then far above it. Prints one JSON
object: output tokens a second at the best of the first and under overload, how
soon the refused were told so, whether each was told when to come back, what was
lost, and how much of the KV cache is in use afterwards. Exits with 1 where
something was lost, or not told, or still is in use.
"""

import argparse
import json
import sys
import tempfile
import urllib.request

import load_runs


def kv_cache_usage(server):
    with urllib.request.urlopen(server.metrics, timeout=10) as response:
        for line in response.read().decode().splitlines():
            if line.startswith("anyprec_kv_cache_usage_perc "):
                return float(line.split()[1])
    raise ValueError("no KV cache usage among the metrics")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, help="the binary")
    parser.add_argument("--loadtest", required=True, help="the binary")
    parser.add_argument("--model", required=True)
    parser.add_argument("--classes", required=True)
    parser.add_argument("--saturating_rates", required=True,
                        type=load_runs.numbers,
                        help="requests/s, about the capacity")
    parser.add_argument("--rate", type=float, required=True,
                        help="requests/s, far above it")
    parser.add_argument("--slo_scale", type=float, default=1)
    parser.add_argument("--duration", type=float, default=40)
    parser.add_argument("--prompt_tokens", default="32-192")
    parser.add_argument("--output_tokens", default="8-48")
    args = parser.parse_args()

    def load(rate):
        report = load_runs.run_loadtest(
            args.loadtest, "--target=" + server.target,
            "--classes=" + args.classes, "--slo_scale=%g" % args.slo_scale,
            "--duration=%g" % args.duration,
            "--prompt_tokens=" + args.prompt_tokens,
            "--output_tokens=" + args.output_tokens, "--rate=%g" % rate)
        return report["runs"][0]["metrics"]

    with tempfile.TemporaryDirectory() as folder:
        server = load_runs.Server(args.server, args.model, folder)
        try:
            saturated = {
                "%g" % rate: load(rate)["output_tokens_per_s"]
                for rate in args.saturating_rates}
            overload = load(args.rate)
            usage = kv_cache_usage(server)
        finally:
            server.stop()
    best = max(saturated.values())
    result = {
        "output_tokens_per_s": {**saturated,
                                "%g" % args.rate: overload["output_tokens_per_s"]},
        "throughput_of_saturation": overload["output_tokens_per_s"] / best,
        "requests": overload["requests"],
        "refusal_ms_p99": overload["refusals"]["latency_ms"]["p99"],
        "refusals_without_retry_info": overload["refusals"]["without_retry_info"],
        "lost": overload["lost"],
        "tokens_below_floor": overload["tokens_below_floor"],
        "kv_cache_usage_after": usage,
    }
    print(json.dumps(result, indent=2))
    for none in ("refusals_without_retry_info", "lost", "tokens_below_floor",
                 "kv_cache_usage_after"):
        if result[none] != 0:
            sys.exit("%s is %g; must be 0" % (none, result[none]))


if __name__ == "__main__":
    main()
