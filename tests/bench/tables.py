#!/usr/bin/env python3
"""Writes the results of benchmarks on GPUs into a README as tables.

    tables.py RESULTS README           rewrites README
    tables.py --check RESULTS README   exit code 1 where that would change it

RESULTS is a folder of JSON files as linear_benchmark, attention_benchmark and
engine_benchmark write them; others are passed over. The tables stand between the
lines BEGIN and END. No result, no table.
"""

import json
import pathlib
import sys

BEGIN = "<!-- benchmark tables: written by tests/bench/tables.py -->"
END = "<!-- end of benchmark tables -->"


def table(headings, rows):
    lines = ["| " + " | ".join(headings) + " |",
             "|" + "---|" * len(headings)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return lines


def circumstances(report):
    launches = "in CUDA graphs" if report["graph"] else "plain launches"
    return f"{report['device']}, {launches}, {report['date']}"


def linear_tables(report):
    yield (f"Products of bit-plane layers, {circumstances(report)}: "
           "microseconds, fraction of the copy bandwidth, "
           "speed-up over cuBLAS in fp16.")
    yield ""
    results = report["results"]
    bits = sorted({r["bits"] for r in results})
    cells = {(r["n"], r["k"], r["rows"], r["bits"]): r for r in results}
    products = list(dict.fromkeys((r["n"], r["k"], r["rows"]) for r in results))
    rows = []
    for n, k, m in products:
        row = [f"{n} x {k}", str(m)]
        for b in bits:
            cell = cells.get((n, k, m, b))
            if cell is None:
                row.append("")
                continue
            text = f"{cell['us']:.1f}, {cell['of_copy']:.0%}"
            if "speed_up" in cell:
                text += f", {cell['speed_up']:.2f}x"
            row.append(text)
        rows.append(row)
    yield from table(["n x k", "M"] + [f"{b} bits" for b in bits], rows)


def attention_tables(report):
    yield (f"Attention over the KV cache in fp16, {circumstances(report)}: "
           "microseconds of a layer; where sequences decode, fraction of the copy "
           "bandwidth, for a prompt's rows TFLOP/s.")
    yield ""
    results = report["results"]
    contexts = sorted({r["context"] for r in results})

    def case(r):
        return (r["heads"], r["kv_heads"], r["head_dim"], r["sequences"],
                r["rows"])

    cells = {(case(r), r["context"]): r for r in results}
    rows = []
    for key in dict.fromkeys(case(r) for r in results):
        heads, kv_heads, head_dim, sequences, m = key
        row = [f"{heads} / {kv_heads} x {head_dim}", str(sequences), str(m)]
        for context in contexts:
            cell = cells.get((key, context))
            if cell is None:
                row.append("")
            elif m == 1:
                row.append(f"{cell['us']:.1f}, {cell['of_copy']:.0%}")
            else:
                row.append(f"{cell['us']:.1f}, {cell['tflop_per_s']:.1f}")
        rows.append(row)
    yield from table(["heads / KV heads", "sequences", "rows of each"] +
                     [f"context {c}" for c in contexts], rows)


def engine_tables(report):
    yield (f"{report['model']} through the engine, {report['device']}, "
           f"{report['date']}: tokens/s of decoding.")
    yield ""
    results = report["results"]
    bits = sorted({r["bits"] for r in results})
    cells = {(r["context"], r["batch"], r["bits"]): r for r in results}
    places = list(dict.fromkeys((r["context"], r["batch"]) for r in results))
    rows = []
    for context, batch in places:
        found = [cells.get((context, batch, b)) for b in bits]
        rows.append([str(context), str(batch)] + [
            f"{cell['decode_tokens_per_s']:.0f}" if cell else ""
            for cell in found])
    yield from table(
        ["context", "batch"] +
        ["fp16" if b == 16 else f"{b} bits" for b in bits], rows)
    for row in report["mixed"]:
        yield ""
        yield (f"{row['streams_each']} streams at each of {row['bits']} bits, "
               f"context {row['context']}: {row['mixed_tokens_per_s']:.0f} "
               "tokens/s together, "
               f"{row['grouped_tokens_per_s']:.0f} in separate batches.")


MAKERS = {
    "linear": linear_tables,
    "attention": attention_tables,
    "engine": engine_tables,
}


def tables(folder):
    lines = []
    for path in sorted(pathlib.Path(folder).glob("*.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        kind = report.get("benchmark") if isinstance(report, dict) else None
        if kind in MAKERS and report["results"]:
            lines += [""] + list(MAKERS[kind](report))
    return lines + [""] if lines else []


def rewritten(text, folder):
    lines = text.split("\n")
    if lines.count(BEGIN) != 1 or lines.count(END) != 1:
        sys.exit(f"tables.py: needs the lines {BEGIN} and {END}, each once")
    begin, end = lines.index(BEGIN), lines.index(END)
    if begin > end:
        sys.exit(f"tables.py: {END} stands before {BEGIN}")
    return "\n".join(lines[:begin + 1] + tables(folder) + lines[end:])


def main(arguments):
    check = arguments[:1] == ["--check"]
    if len(arguments) != 2 + check:
        sys.exit(__doc__)
    folder, readme = arguments[check], pathlib.Path(arguments[check + 1])
    old = readme.read_text(encoding="utf-8")
    new = rewritten(old, folder)
    if check and new != old:
        sys.exit(f"tables.py: {readme} is not what {folder} says; run "
                 f"tests/bench/tables.py {folder} {readme}")
    if not check:
        readme.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
