#!/usr/bin/env python3
"""Compares precision policies on real servers, one step of load after another.

    bazel build -c opt //server:anyprec-server //tests/load:anyprec-loadtest
    tests/load/measure_policies.py --server=bazel-bin/server/anyprec-server \\
        --loadtest=bazel-bin/tests/load/anyprec-loadtest --model=MODEL \\
        --classes=tests/load/classes/chat_cpu.json \\
        --trace=AzureLLMInferenceTrace_conv.csv --trace_start=720 \\
        --trace_duration=40 --length_scale=0.1

Starts one server for each policy, all on the step times that the first one
measured; finds the rate at which the highest precision gets 90 % of the requests
what they ask for, unless --base_rate gives it; and takes the policies in turn at
each of --rates times that, so that all of them meet the same hour of the machine.
Prints a table in Markdown.

"fixed:B" is a server with --policy=fixed:B, which keeps to each request's own
range; "only:B" asks for B bits in every request, as a server with one precision
would give them, and misses those whose floor is above.
"""

import argparse
import os
import shutil
import tempfile

import load_runs


def loadtest(args, server, *flags):
    return load_runs.run_loadtest(
        args.loadtest, "--target=" + server.target, "--arrivals=trace",
        "--trace=" + args.trace, "--classes=" + args.classes,
        "--trace_start=%g" % args.trace_start,
        "--trace_duration=%g" % args.trace_duration,
        "--length_scale=%g" % args.length_scale, *flags)


def find_base_rate(args, server):
    """The rate that the highest precision sustains."""
    report = loadtest(args, server, "--find_rate=0.9", "--min_rate=1",
                      "--max_rate=%g" % args.max_rate, "--rate_tolerance=0.1",
                      "--fixed_bits=%d" % args.parent_bits)
    return report["highest_rates"][0]["rate_rps"]


def print_row(rate, policy, metrics):
    requests = metrics["requests"]
    print("| %.2f | %s | %.1f %% | %.2f | %.0f | %.0f | %.1f | %d | %d | %d |" % (
        rate, policy, 100 * metrics["goodput"], metrics["mean_bits"],
        metrics["ttft_ms"]["p50"], metrics["ttft_ms"]["p95"],
        metrics["tpot_ms"]["p95"], requests["refused"],
        metrics["answers_below_floor"], metrics["answers_without_bits"]),
        flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, help="the binary")
    parser.add_argument("--loadtest", required=True, help="the binary")
    parser.add_argument("--model", required=True)
    parser.add_argument("--classes", required=True)
    parser.add_argument("--trace", required=True)
    parser.add_argument("--trace_start", type=float, default=720)
    parser.add_argument("--trace_duration", type=float, default=40)
    parser.add_argument("--length_scale", type=float, default=0.1)
    parser.add_argument("--base_rate", type=float, help="requests/s")
    parser.add_argument("--max_rate", type=float, default=20)
    parser.add_argument("--rates", default="0.5,1,1.5",
                        help="multiples of the base rate")
    parser.add_argument("--parent_bits", type=int, default=8)
    parser.add_argument("--policies", default="slo,load-ladder,fixed:3,fixed:4,"
                        "fixed:5,fixed:6,fixed:7,fixed:8")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--warm_up", type=float, default=10,
                        help="seconds to measure step times")
    parser.add_argument("--costs", help="where to put the measured step times")
    args = parser.parse_args()
    policies = args.policies.split(",")
    with tempfile.TemporaryDirectory() as folder:
        servers = {}
        try:
            for policy in policies:
                served = "slo" if policy.startswith("only:") else policy
                if served in servers:
                    continue
                servers[served] = load_runs.Server(
                    args.server, args.model, folder, "--policy=" + served,
                    "--step_cost_cache=" + folder,
                    "--warm_up=%g" % args.warm_up)
            if args.costs:
                tables = [f for f in os.listdir(folder) if f.endswith(".json")]
                shutil.copy(os.path.join(folder, tables[0]), args.costs)
            base = args.base_rate or find_base_rate(
                args, next(iter(servers.values())))
            print("%d bits alone sustain %.2f requests/s\n"
                  % (args.parent_bits, base))
            print("| requests/s | policy | goodput | bits | TTFT p50 ms | p95 "
                  "| TPOT p95 ms | refused | below floor | without bits |\n"
                  "|---|---|---|---|---|---|---|---|---|---|", flush=True)
            for factor in args.rates.split(","):
                rate = base * float(factor)
                for _ in range(args.repeat):
                    for policy in policies:
                        flags = ["--rate=%g" % rate]
                        if policy.startswith("only:"):
                            flags.append("--fixed_bits=" + policy[5:])
                        server = servers.get(policy) or servers["slo"]
                        report = loadtest(args, server, *flags)
                        print_row(rate, policy, report["runs"][0]["metrics"])
        finally:
            for server in servers.values():
                server.stop()


if __name__ == "__main__":
    main()
