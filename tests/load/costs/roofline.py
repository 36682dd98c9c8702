#!/usr/bin/env python3
"""Prints a table of step times of Llama-2-7B on one H200, for the simulator.

    tests/load/costs/roofline.py >tests/load/costs/llama-2-7b-h200.json

Nothing here was measured. The assumptions, each to be replaced by a measurement
(a server with --step_cost_cache writes such a table):

- 4.3 TB/s from memory. A decode step reads the planes and the codebook of its
  precision, and an lm_head of fp16 once: READ_US, at 85 % of that rate.
- Five kernels a layer in a graph, 1.3 us each.
- Small batches decode weights into tensor-core fragments at 400 TFLOPS of fp16;
  a step takes the longer of reading and computing.
- A prompt's chunk of more than 64 rows first decodes each layer into fp16 panels
  (written and read once, at 85 % of the memory rate), then runs at 500 TFLOPS.
- A token in the KV cache is 512 kB for each decode row to read, and far less for
  each row of a chunk, which share it.
"""

import json

MEMORY_BYTES_PER_S = 4.3e12
EFFICIENCY = 0.85
WEIGHTS = 6.6e9
DECODE_FLOPS = 400e12
PREFILL_FLOPS = 500e12
KERNELS_US = 32 * 5 * 1.3
# Planes, codebooks and lm_head at the full memory rate.
READ_US = {3: 631, 4: 824, 5: 1022, 6: 1231, 7: 1460, 8: 1729}
LM_HEAD_US = 61
KV_BYTES_PER_TOKEN = 2 * 32 * 4096 * 2
CHUNK_ROWS = 512


def decode_us(bits, rows):
    compute = 2 * WEIGHTS * rows / DECODE_FLOPS * 1e6
    return max(READ_US[bits] / EFFICIENCY, compute) + KERNELS_US


def prefill_us(bits, rows):
    read = READ_US[bits] / EFFICIENCY
    if rows <= 64:
        return max(read, 2 * WEIGHTS * rows / DECODE_FLOPS * 1e6) + KERNELS_US
    panels = 2 * (2 * WEIGHTS) / MEMORY_BYTES_PER_S / EFFICIENCY * 1e6
    return (read + panels + 2 * WEIGHTS * rows / PREFILL_FLOPS * 1e6
            + KERNELS_US)


def main():
    steps = []
    for phase, time_us, row_counts in (
            ("decode", decode_us, (1, 8, 16, 32, 64, 128)),
            ("prefill", prefill_us, (16, 64, 65, 128, 512, 2048))):
        for bits in READ_US:
            for rows in row_counts:
                steps.append({"phase": phase, "bits": bits, "rows": rows,
                              "ms": round(time_us(bits, rows) / 1e3, 4)})
    kv_us = KV_BYTES_PER_TOKEN / MEMORY_BYTES_PER_S * 1e6
    print(json.dumps({
        "name": "Llama-2-7B on one H200, by roofline (not measured)",
        "kv_tokens": 200000,
        "context_us": {"decode": round(kv_us, 4),
                       "prefill": round(kv_us / CHUNK_ROWS, 6)},
        "shared_ms": round((KERNELS_US + LM_HEAD_US / EFFICIENCY) / 1e3, 4),
        "steps": steps}, indent=1))


if __name__ == "__main__":
    main()
