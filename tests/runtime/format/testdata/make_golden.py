#!/usr/bin/env python3
"""Writes the golden GGUF files of this folder and the values they must read as.

Independent of our reader: bytes and values come from the PyPI packages `gguf`
and `safetensors`. Run it after `pip install gguf==0.19.0 numpy safetensors`;
the output is the same every time.

  blocks.gguf, blocks.safetensors   every tensor type we read, 2 rows of 256
                                    values, and one metadata pair of every type
  llama.gguf, llama.safetensors     a whole (tiny, random) Llama with GQA, in
                                    mixed types, and its tensors in fp32 under
                                    HuggingFace's names and row order
"""

import pathlib

import gguf
import numpy as np
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
Type = gguf.GGMLQuantizationType


def random_blocks(rng, kind, rows, columns):
    """Random bytes with small scales: every bit pattern of the quants occurs."""
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(
        0, 256, (rows * columns // elements, size), dtype=np.uint8
    )
    # Where the fp16 scales and minima stand in a block.
    halves = {
        Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2],
        Type.Q8_0: [0], Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208],
    }[kind]
    for offset in halves:
        scales = rng.normal(0, 0.05, len(blocks)).astype(np.float16)
        blocks[:, offset:offset + 2] = scales.view(np.uint8).reshape(-1, 2)
    return blocks.reshape(rows, -1)


def make_blocks():
    rng = np.random.default_rng(1)
    writer = gguf.GGUFWriter(HERE / "blocks.gguf", "test")
    writer.add_uint8("test.uint8", 200)
    writer.add_int8("test.int8", -100)
    writer.add_uint16("test.uint16", 60000)
    writer.add_int16("test.int16", -30000)
    writer.add_uint32("test.uint32", 4000000000)
    writer.add_int32("test.int32", -2000000000)
    writer.add_uint64("test.uint64", 2**63)
    writer.add_int64("test.int64", -(2**62))
    writer.add_float32("test.float32", 1.5)
    writer.add_float64("test.float64", 0.1)
    writer.add_bool("test.bool", True)
    writer.add_string("test.string", "h\u00e9llo")
    writer.add_array("test.strings", ["a", "", "\u4e2d\u6587"])
    writer.add_array("test.ints", [1, -2, 3])
    writer.add_array("test.floats", [0.5, -1.25])
    expected = {}
    for kind in (
        Type.F32, Type.F16, Type.BF16, Type.Q4_0, Type.Q4_1, Type.Q5_0,
        Type.Q5_1, Type.Q8_0, Type.Q4_K, Type.Q5_K, Type.Q6_K,
    ):
        if kind in (Type.F32, Type.F16, Type.BF16):
            data = gguf.quants.quantize(
                rng.normal(size=(2, 256)).astype(np.float32), kind
            )
        else:
            data = random_blocks(rng, kind, 2, 256)
        writer.add_tensor(kind.name, data, raw_dtype=kind)
        expected[kind.name] = np.ascontiguousarray(
            gguf.quants.dequantize(data, kind), dtype=np.float32
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save_file(expected, HERE / "blocks.safetensors")


def interleave(weights, heads):
    """The row order in which llama.cpp keeps q and k."""
    rows, columns = weights.shape
    return (
        weights.reshape(heads, 2, rows // heads // 2, columns)
        .swapaxes(1, 2)
        .reshape(rows, columns)
    )


def make_llama():
    rng = np.random.default_rng(2)
    hidden, inner, heads, kv_heads, vocabulary = 32, 64, 4, 2, 16
    kv = hidden // heads * kv_heads
    writer = gguf.GGUFWriter(HERE / "llama.gguf", "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(hidden)
    writer.add_block_count(1)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([f"t{i}" for i in range(vocabulary)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    expected = {}

    def add(name, huggingface, shape, kind, interleaved_heads=0):
        values = rng.normal(0, 0.1, shape).astype(np.float32)
        # Through the type and back first: rows are independent, so the order
        # of quantizing and interleaving does not matter.
        data = gguf.quants.quantize(values, kind)
        expected[huggingface] = np.ascontiguousarray(
            gguf.quants.dequantize(data, kind), dtype=np.float32
        )
        if interleaved_heads:
            data = gguf.quants.quantize(
                interleave(values, interleaved_heads), kind
            )
        writer.add_tensor(name, data, raw_dtype=kind)

    layer = "model.layers.0."
    add("token_embd.weight", "model.embed_tokens.weight", (vocabulary, hidden),
        Type.Q8_0)
    add("blk.0.attn_norm.weight", layer + "input_layernorm.weight", (hidden,),
        Type.F32)
    add("blk.0.attn_q.weight", layer + "self_attn.q_proj.weight",
        (hidden, hidden), Type.Q4_0, heads)
    add("blk.0.attn_k.weight", layer + "self_attn.k_proj.weight",
        (kv, hidden), Type.F16, kv_heads)
    add("blk.0.attn_v.weight", layer + "self_attn.v_proj.weight",
        (kv, hidden), Type.BF16)
    add("blk.0.attn_output.weight", layer + "self_attn.o_proj.weight",
        (hidden, hidden), Type.Q4_1)
    add("blk.0.ffn_norm.weight", layer + "post_attention_layernorm.weight",
        (hidden,), Type.F32)
    add("blk.0.ffn_gate.weight", layer + "mlp.gate_proj.weight",
        (inner, hidden), Type.Q5_0)
    add("blk.0.ffn_up.weight", layer + "mlp.up_proj.weight",
        (inner, hidden), Type.Q5_1)
    add("blk.0.ffn_down.weight", layer + "mlp.down_proj.weight",
        (hidden, inner), Type.Q8_0)
    add("output_norm.weight", "model.norm.weight", (hidden,), Type.F32)
    add("output.weight", "lm_head.weight", (vocabulary, hidden), Type.F16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save_file(expected, HERE / "llama.safetensors")


if __name__ == "__main__":
    make_blocks()
    make_llama()
