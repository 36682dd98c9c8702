#!/usr/bin/env python3
"""Compares precision policies on real servers, one step of load after another.

    bazel build -c opt //server:anyprec-server //tests/load:anyprec-loadtest
    tests/load/measure_policies.py --server=bazel-bin/server/anyprec-server \\
        --loadtest=bazel-bin/tests/load/anyprec-loadtest --model=MODEL \\
        --classes=tests/load/classes/chat_cpu.json \\
        --trace=AzureLLMInferenceTrace_conv.csv --length_scale=0.1

Starts one server for each policy, all on the step times that the first one
measured; finds the rate at which the highest precision gets 90 % of the requests
what they ask for, unless --base_rate gives it; and at each of --rates times that
takes the policies in turn, --repeat times, each time on the next stretch of the
trace and beginning with the next policy, so that all of them meet the same hours
of the machine. Each stretch begins with an idle server: short ones favour low
precisions, which need no time to come down.

Prints a table in Markdown, a row for each policy over all its requests. "against"
is how many per cent more of the requests it kept than the first policy did, with
the standard error of that difference, over the stretches: what the trace and the
machine do to both cancels out.

"fixed:B" is a server with --policy=fixed:B, which keeps to each request's own
range; "only:B" asks for B bits in every request, as a server with one precision
would give them, and misses those whose floor is above.
"""

import argparse
import csv
import math
import os
import shutil
import statistics
import sys
import tempfile

import load_runs


def loadtest(args, server, start, *flags):
    return load_runs.run_loadtest(
        args.loadtest, "--target=" + server.target, "--arrivals=trace",
        "--trace=" + args.trace, "--classes=" + args.classes,
        "--trace_start=%g" % start,
        "--trace_duration=%g" % args.trace_duration,
        "--length_scale=%g" % args.length_scale,
        "--slo_scale=%g" % args.slo_scale, "--warm_up=2", *flags)


def find_base_rate(args, server):
    """The rate that the highest precision sustains."""
    report = loadtest(args, server, args.trace_start, "--find_rate=0.9",
                      "--min_rate=1", "--max_rate=%g" % args.max_rate,
                      "--rate_tolerance=0.1",
                      "--fixed_bits=%d" % args.parent_bits)
    return report["highest_rates"][0]["rate_rps"]


def requests_of(args, server, start, *flags):
    """One run's measured requests, as rows of its CSV file."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "requests.csv")
        loadtest(args, server, start, "--csv=" + path, *flags)
        with open(path, newline="", encoding="utf-8") as file:
            return [r for r in csv.DictReader(file) if r["measured"] == "1"]


def percentile(requests, column, percent):
    values = sorted(float(r[column]) for r in requests if r[column])
    return values[round(percent / 100 * (len(values) - 1))] if values else 0


def mean_bits(requests, bits, tokens):
    """Weighted by tokens, over the requests that have any bits."""
    told = [r for r in requests if r[bits]]
    return sum(int(r[tokens]) * float(r[bits]) for r in told) / max(
        1, sum(int(r[tokens]) for r in told))


def is_below_floor(request):
    """Whether its prompt or its answer has a token below its floor."""
    lowest = [request["lowest_bits"], request["prompt_lowest_bits"]]
    return any(b and int(b) < int(request["floor_bits"]) for b in lowest)


def judged_and_missed(requests):
    judged = [r for r in requests if r["verdict"] in ("met", "missed")]
    return len(judged), sum(r["verdict"] == "missed" for r in judged)


def goodput(requests):
    judged, missed = judged_and_missed(requests)
    return 1 - missed / max(1, judged)


def difference(stretches, first):
    """Of the goodput, and its standard error, from those on equal stretches."""
    if stretches is first:
        return ""
    differences = [100 * (goodput(a) - goodput(b))
                   for a, b in zip(stretches, first)]
    text = "%+.1f" % statistics.mean(differences)
    if len(differences) > 1:
        text += " ± %.1f" % (statistics.stdev(differences)
                             / math.sqrt(len(differences)))
    return text


def print_row(rate, policy, stretches, first):
    requests = [r for stretch in stretches for r in stretch]
    judged, missed = judged_and_missed(requests)
    below = sum(is_below_floor(r) for r in requests)
    refused = sum(r["outcome"] == "refused" for r in requests)
    print("| %.2f | %s | %d | %.1f %% | %s | %d | %.2f | %.2f | %.0f | %.0f "
          "| %.1f | %d | %d |"
          % (rate, policy, judged, 100 * goodput(requests),
             difference(stretches, first), missed,
             mean_bits(requests, "mean_bits", "output_tokens"),
             mean_bits(requests, "prompt_mean_bits", "prompt_tokens"),
             percentile(requests, "ttft_ms", 50),
             percentile(requests, "ttft_ms", 95),
             percentile(requests, "tpot_ms", 95), refused, below), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", required=True, help="the binary")
    parser.add_argument("--loadtest", required=True, help="the binary")
    parser.add_argument("--model", required=True)
    parser.add_argument("--classes", required=True)
    parser.add_argument("--trace", required=True)
    parser.add_argument("--trace_start", type=float, default=720)
    parser.add_argument("--trace_duration", type=float, default=60)
    parser.add_argument("--length_scale", type=float, default=0.1)
    parser.add_argument("--slo_scale", type=float, default=1)
    parser.add_argument("--base_rate", type=float, help="requests/s")
    parser.add_argument("--max_rate", type=float, default=20)
    parser.add_argument("--rates", default="0.5,1,1.5", type=load_runs.numbers,
                        help="multiples of the base rate")
    parser.add_argument("--parent_bits", type=int, default=8)
    parser.add_argument("--policies", default="slo,load-ladder,fixed:3,fixed:4,"
                        "fixed:5,fixed:6,fixed:7,fixed:8")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--warm_up", type=float, default=20,
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
            base = args.base_rate
            if base is None:
                base = find_base_rate(args, next(iter(servers.values())))
                if base is None:
                    sys.exit("at %d bits less than 90 %% are in time even at 1 "
                             "request/s: --slo_scale=2 gives twice the time"
                             % args.parent_bits)
                print("%d bits alone sustain %.2f requests/s\n"
                      % (args.parent_bits, base))
            print("| requests/s | policy | requests | goodput | against | missed "
                  "| bits | prompt bits | TTFT p50 ms | p95 | TPOT p95 ms "
                  "| refused | below floor |\n"
                  "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
                  flush=True)
            for factor in args.rates:
                rate = base * factor
                stretches = {policy: [] for policy in policies}
                for turn in range(args.repeat):
                    start = args.trace_start + turn * args.trace_duration
                    first = turn % len(policies)
                    for policy in policies[first:] + policies[:first]:
                        flags = ["--rate=%g" % rate]
                        if policy.startswith("only:"):
                            flags.append("--fixed_bits=" + policy[5:])
                        server = servers.get(policy) or servers["slo"]
                        stretches[policy].append(
                            requests_of(args, server, start, *flags))
                    print("%.2f requests/s, stretch %d: %s"
                          % (rate, turn + 1, ", ".join(
                              "%s %.1f %%" % (policy, 100 * goodput(runs[-1]))
                              for policy, runs in stretches.items())),
                          file=sys.stderr, flush=True)
                for policy in policies:
                    print_row(rate, policy, stretches[policy],
                              stretches[policies[0]])
        finally:
            for server in servers.values():
                server.stop()


if __name__ == "__main__":
    main()
