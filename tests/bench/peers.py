#!/usr/bin/env python3
"""Run Anyprec beside llama.cpp, interleaved, and print a table of ratios.

Called by peers.sh, which builds both. Each workload is run in rounds, ours and
theirs in turn, so that a noisy machine disturbs both alike; figures are medians
of the rounds, and every claim is a ratio within one run.
"""
import argparse
import contextlib
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

# (label, model, streams, prompt tokens, generated tokens, our bits, their
# files, what is compared)
DECODE, PREFILL = "decode", "prefill"
WORKLOADS = [
    ("1.1B decode, 3 bits", "random", 1, 16, 64, 3, ["Q3_K_M"], DECODE),
    ("1.1B decode, 4 bits", "random", 1, 16, 64, 4, ["Q4_0", "Q4_K_M"], DECODE),
    ("1.1B decode, 8 bits", "random", 1, 16, 64, 8, ["Q8_0"], DECODE),
    ("1.1B prefill of 512", "random", 1, 512, 2, 4, ["F16"], PREFILL),
    ("1.1B, 4 streams", "random", 4, 16, 48, 4, ["Q4_0"], DECODE),
    ("1.1B, 16 streams", "random", 16, 16, 32, 4, ["Q4_0"], DECODE),
    ("SmolLM2 decode, 4 bits", "smollm2", 1, 16, 128, 4, ["Q4_0"], DECODE),
    ("SmolLM2 decode, 8 bits", "smollm2", 1, 16, 128, 8, ["Q8_0"], DECODE),
    ("SmolLM2 prefill of 512", "smollm2", 1, 512, 2, 4, ["F16"], PREFILL),
    ("SmolLM2, 4 streams", "smollm2", 4, 16, 128, 4, ["Q4_0"], DECODE),
    ("SmolLM2, 16 streams", "smollm2", 16, 16, 128, 4, ["Q4_0"], DECODE),
]


@contextlib.contextmanager
def server(binary, model, threads):
    """An Anyprec server on a free loopback port; yields its address."""
    with tempfile.TemporaryDirectory() as folder:
        port_file = os.path.join(folder, "port")
        process = subprocess.Popen(
            [binary, "--model=" + model, "--port=0", "--port_file=" + port_file,
             "--device=cpu", "--threads=%d" % threads, "--max_context=2048",
             "--prefix_cache=false", "--log_level=warn"], stdout=subprocess.DEVNULL)
        try:
            while not (os.path.exists(port_file) and os.path.getsize(port_file)):
                if process.poll() is not None:
                    sys.exit("peers.py: the server ended with exit code %d"
                             % process.returncode)
                time.sleep(0.1)
            with open(port_file, encoding="utf-8") as file:
                yield "127.0.0.1:" + file.read().strip()
        finally:
            process.terminate()
            process.wait()


def ours(args, address, streams, prompt, generated, bits, what):
    result = json.loads(subprocess.check_output(
        [args.stream_benchmark, "--address=" + address,
         "--streams=%d" % streams, "--prompt_tokens=%d" % prompt,
         "--max_tokens=%d" % generated, "--bits=%d" % bits]))
    return result[what + "_tokens_per_second"]


def theirs(args, path, streams, prompt, generated, what):
    out = subprocess.check_output(
        [os.path.join(args.llama_bin, "llama-batched-bench"), "-m", path,
         "-c", str(streams * (prompt + generated) + 256), "-b", "2048",
         "-ub", "512", "-npp", str(prompt), "-ntg", str(generated),
         "-npl", str(streams), "-t", str(args.threads),
         "-tb", str(args.threads), "--output-format", "jsonl"],
        stderr=subprocess.DEVNULL, text=True)
    row = next(json.loads(line) for line in out.splitlines()
               if line.startswith("{"))
    return row["speed_tg" if what == DECODE else "speed_pp"]


def cpu_name():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def run_model(args, name, rows):
    model, prefix = {
        "random": ("synthetic:tinyllama-1.1b", "random-1.1b"),
        "smollm2": (args.smollm2, "smollm2"),
    }[name]
    with server(args.server, model, args.threads) as address:
        for round_number in range(args.rounds + 1):
            for label, _, streams, prompt, generated, bits, files, what in [
                    w for w in WORKLOADS if w[1] == name]:
                row = rows.setdefault(label, {"ours": [], "bits": bits,
                                              "theirs": {f: [] for f in files}})
                speed = ours(args, address, streams, prompt, generated, bits,
                             what)
                if round_number > 0:  # Round 0 warms caches and clocks.
                    row["ours"].append(speed)
                for file in files:
                    path = os.path.join(args.models,
                                        "%s.%s.gguf" % (prefix, file.lower()))
                    speed = theirs(args, path, streams, prompt, generated, what)
                    if round_number > 0:
                        row["theirs"][file].append(speed)
                print("round %d: %s" % (round_number, label), file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", required=True)
    parser.add_argument("--stream-benchmark", required=True)
    parser.add_argument("--llama-bin", required=True)
    parser.add_argument("--models", required=True, help="folder of GGUF files")
    parser.add_argument("--smollm2", required=True, help="parent model folder")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=["random", "smollm2"])
    parser.add_argument("--json", required=True, help="where the result goes")
    args = parser.parse_args()

    rows = {}
    for name in ["random", "smollm2"]:
        if args.only in (None, name):
            run_model(args, name, rows)

    report = {
        "date": datetime.date.today().isoformat(),
        "cpu": cpu_name(),
        "threads": args.threads,
        "rounds": args.rounds,
        "workloads": [],
    }
    print("| workload | ours, tokens/s | llama.cpp, tokens/s | ratio |")
    print("|---|---|---|---|")
    for label, row in rows.items():
        our_median = statistics.median(row["ours"])
        for file, speeds in row["theirs"].items():
            median = statistics.median(speeds)
            # The ratio of each round's pair, then the median of the ratios.
            ratio = statistics.median(
                a / b for a, b in zip(row["ours"], speeds))
            print("| %s | %.1f (%d bits) | %.1f (%s) | %.2f |"
                  % (label, our_median, row["bits"], median, file, ratio))
            report["workloads"].append({
                "workload": label, "bits": row["bits"], "peer": file,
                "ours": row["ours"], "theirs": speeds, "ratio": ratio})
    with open(args.json, "w", encoding="utf-8") as file:
        json.dump(report, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
