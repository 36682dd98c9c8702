#!/usr/bin/env python3
"""Compares precision policies in the simulator.

    bazel build -c opt //tests/load:anyprec-loadtest
    tests/load/compare_policies.py --loadtest=bazel-bin/tests/load/anyprec-loadtest \\
        --costs=tests/load/costs/llama-2-7b-h200.json \\
        --classes=tests/load/classes/chat_7b.json \\
        --trace=AzureLLMInferenceTrace_conv.csv --svg=policies.svg

Prints two tables in Markdown: the highest rates at which 90 % and 99 % of the
requests get what they ask for, and the goodput and mean bits at each of --rates.
"""

import argparse

import load_runs

COLORS = ("#0b6e4f", "#c1666b", "#4a6fa5", "#b98b1c", "#7d5ba6", "#3e8989",
          "#a0522d", "#555555")


def loadtest(args, policy, *flags):
    return load_runs.run_loadtest(
        args.loadtest, "--simulate=" + args.costs, "--policy=" + policy,
        "--arrivals=trace", "--trace=" + args.trace,
        "--classes=" + args.classes, "--trace_start=%g" % args.trace_start,
        "--trace_duration=%g" % args.trace_duration,
        "--length_scale=%g" % args.length_scale,
        "--slo_scale=%g" % args.slo_scale, *flags)


def measure(args, policy):
    search = loadtest(args, policy, "--find_rate=0.9,0.99", "--min_rate=0.1",
                      "--max_rate=%g" % args.max_rate)
    sweep = loadtest(args, policy, "--base_rate=1",
                     "--rates=" + ",".join("%g" % r for r in args.rates))
    return {
        "highest": [found["rate_rps"] for found in search["highest_rates"]],
        "goodput": [run["metrics"]["goodput"] for run in sweep["runs"]],
        "bits": [run["metrics"]["mean_bits"] for run in sweep["runs"]],
    }


def print_tables(args, results):
    print("| policy | 90 % | 99 % |\n|---|---|---|")
    for policy, result in results.items():
        print("| %s | %s |" % (policy, " | ".join(
            "none" if rate is None else "%.2f" % rate
            for rate in result["highest"])))
    print("\n| requests/s | %s |" % " | ".join("%g" % r for r in args.rates))
    print("|---|%s" % ("---|" * len(args.rates)))
    for policy, result in results.items():
        print("| %s | %s |" % (policy, " | ".join(
            "%.1f %%" % (100 * goodput)
            + (" at %.2f" % bits if bits is not None else "")
            for goodput, bits in zip(result["goodput"], result["bits"]))))


def panel(args, results, key, title, low, high, left):
    """One plot over the rates, as SVG elements."""
    width, height, top = 330, 220, 40
    first, last = args.rates[0], args.rates[-1]

    def x(rate):
        return left + width * (rate - first) / (last - first)

    def y(value):
        return top + height * (1 - (value - low) / (high - low))

    parts = ['<text x="%d" y="20" font-weight="bold">%s</text>' % (left, title)]
    for i in range(5):
        value = low + (high - low) * i / 4
        parts.append('<path d="M%.1f %.1fh%d" stroke="#ddd"/>'
                     % (left, y(value), width))
        parts.append('<text x="%d" y="%.1f" text-anchor="end">%.3g</text>'
                     % (left - 6, y(value) + 4, value))
    for rate in args.rates:
        parts.append('<text x="%.1f" y="%d" text-anchor="middle">%g</text>'
                     % (x(rate), top + height + 18, rate))
    for color, (policy, result) in zip(COLORS, results.items()):
        points = " ".join("%.1f,%.1f" % (x(rate), y(value))
                          for rate, value in zip(args.rates, result[key])
                          if value is not None)
        parts.append('<polyline points="%s" fill="none" stroke="%s" '
                     'stroke-width="%s"/>'
                     % (points, color, "3" if policy == "slo" else "1.5"))
    return parts


def write_svg(args, results):
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" width="800" height="330" '
             'font-family="sans-serif" font-size="12">',
             '<rect width="800" height="330" fill="white"/>']
    parts += panel(args, results, "goodput", "goodput, share of requests",
                   0, 1, 50)
    parts += panel(args, results, "bits", "mean bits of the tokens", 3, 8, 450)
    for i, (color, policy) in enumerate(zip(COLORS, results)):
        parts.append('<text x="%d" y="310" fill="%s">%s</text>'
                     % (50 + 80 * i, color, policy))
    parts.append('<text x="780" y="310" text-anchor="end">requests/s</text>')
    with open(args.svg, "w", encoding="utf-8") as file:
        file.write("\n".join(parts + ["</svg>\n"]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loadtest", required=True, help="the binary")
    parser.add_argument("--costs", required=True, help="table of step times")
    parser.add_argument("--classes", required=True)
    parser.add_argument("--trace", required=True)
    parser.add_argument("--trace_start", type=float, default=600)
    parser.add_argument("--trace_duration", type=float, default=600)
    parser.add_argument("--length_scale", type=float, default=1)
    parser.add_argument("--slo_scale", type=float, default=1)
    parser.add_argument("--max_rate", type=float, default=100)
    parser.add_argument("--rates", default="4,6,8,10,12,16,24",
                        type=load_runs.numbers,
                        help="requests/s, ascending")
    parser.add_argument("--policies", default="slo,load-ladder,fixed:3,fixed:4,"
                        "fixed:5,fixed:6,fixed:7,fixed:8")
    parser.add_argument("--svg", help="where to draw the second table")
    args = parser.parse_args()
    if len(args.rates) < 2 or args.rates != sorted(set(args.rates)):
        parser.error("--rates: needs two or more, ascending")
    results = {policy: measure(args, policy)
               for policy in args.policies.split(",")}
    print_tables(args, results)
    if args.svg:
        write_svg(args, results)


if __name__ == "__main__":
    main()
