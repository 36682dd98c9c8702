#!/usr/bin/env python3
"""What deploy/quickstart.sh reads out of the client's JSON answers.

    quickstart_table.py FOLDER has_chat_template
    quickstart_table.py FOLDER deadline
    quickstart_table.py FOLDER table

FOLDER holds NAME.json, an answer of `anyprec generate` or `chat`, and
NAME.model.json, `anyprec model` just after it, for the NAMEs 3, 4, 6, 8 and
deadline; has_chat_template reads model.json alone.
"""

import json
import os
import sys

FIXED_BITS = ("3", "4", "6", "8")
HEADINGS = ("bits", "tokens/s", "first token", "read/token", "resident")
ROW = "{:<6}{:>10}{:>13}{:>12}{:>11}  {}"


def read(folder, name):
    with open(os.path.join(folder, name + ".json"), encoding="utf-8") as file:
        return json.load(file)


def deadline_ms(folder):
    """A deadline that the highest precision should miss and 4 bits keep."""
    answer = read(folder, "4")
    answer_ms = answer["ttft_ms"] + answer["tpot_ms"] * (answer["tokens"] - 1)
    # Half as much again: other programs may want the processor meanwhile.
    return max(1, round(1.5 * answer_ms))


def megabytes(count):
    return f"{count / 1e6:.1f} MB"


def row(folder, name):
    answer, model = read(folder, name), read(folder, name + ".model")
    used = {int(bits): tokens for bits, tokens in answer["bits"].items()}
    bits = f"{min(used)}-{max(used)}" if len(used) > 1 else str(min(used))
    weight_bytes = sum(
        model["precisions"][str(b)]["weight_bytes_per_token"] * tokens
        for b, tokens in used.items()) / sum(used.values())
    return ROW.format(
        bits, f"{answer['tokens_per_second']:.1f}",
        f"{answer['ttft_ms']:.0f} ms", megabytes(weight_bytes),
        megabytes(model["state"]["resident_bytes"]),
        " ".join(answer["text"].split()))


def print_table(folder):
    print(ROW.format(*HEADINGS, "text"))
    for name in FIXED_BITS:
        print(row(folder, name))
    print("The same, with nothing but a deadline:")
    print(row(folder, "deadline"))


def main(folder, wanted):
    if wanted == "has_chat_template":
        print(read(folder, "model")["has_chat_template"])
    elif wanted == "deadline":
        print(deadline_ms(folder))
    else:
        print_table(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
