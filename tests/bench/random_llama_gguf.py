#!/usr/bin/env python3
"""Write an F16 GGUF file of TinyLlama-1.1B's shape with random weights.

Speed does not depend on what the weights say, so the peers can be compared on
a 1.1B model without downloading one. Needs the PyPI packages gguf and numpy.
"""
import sys

import gguf
import numpy as np

LAYERS, HIDDEN, INNER, HEADS, KV_HEADS, VOCAB = 22, 2048, 5632, 32, 4, 32000
KV_SIZE = HIDDEN // HEADS * KV_HEADS


def main(path):
    random = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("random-1.1b")
    writer.add_block_count(LAYERS)
    writer.add_context_length(2048)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_vocab_size(VOCAB)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_tokenizer_model("llama")
    pieces = ["<unk>", "<s>", "</s>"]
    pieces += ["<0x%02X>" % byte for byte in range(256)]
    pieces += ["w%d" % i for i in range(VOCAB - len(pieces))]
    kinds = [gguf.TokenType.UNKNOWN] + [gguf.TokenType.CONTROL] * 2
    kinds += [gguf.TokenType.BYTE] * 256
    kinds += [gguf.TokenType.NORMAL] * (VOCAB - len(kinds))
    writer.add_token_list(pieces)
    writer.add_token_scores([0.0] * VOCAB)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)

    def matrix(name, n, k):
        scale = np.float32(k ** -0.5)
        values = random.standard_normal((n, k), dtype=np.float32) * scale
        writer.add_tensor(name, values.astype(np.float16))

    def norm(name):
        writer.add_tensor(name, np.ones(HIDDEN, dtype=np.float32))

    matrix("token_embd.weight", VOCAB, HIDDEN)
    for layer in range(LAYERS):
        prefix = "blk.%d." % layer
        norm(prefix + "attn_norm.weight")
        matrix(prefix + "attn_q.weight", HIDDEN, HIDDEN)
        matrix(prefix + "attn_k.weight", KV_SIZE, HIDDEN)
        matrix(prefix + "attn_v.weight", KV_SIZE, HIDDEN)
        matrix(prefix + "attn_output.weight", HIDDEN, HIDDEN)
        norm(prefix + "ffn_norm.weight")
        matrix(prefix + "ffn_gate.weight", INNER, HIDDEN)
        matrix(prefix + "ffn_up.weight", INNER, HIDDEN)
        matrix(prefix + "ffn_down.weight", HIDDEN, INNER)
    norm("output_norm.weight")
    matrix("output.weight", VOCAB, HIDDEN)

    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: random_llama_gguf.py OUTPUT.gguf")
    main(sys.argv[1])
