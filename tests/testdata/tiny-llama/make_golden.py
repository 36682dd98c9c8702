#!/usr/bin/env python3
"""Writes golden.json: what HuggingFace transformers computes for tiny-llama.

    python3 make_golden.py

runs LlamaForCausalLM of this folder in fp32 on the CPU and records, for a few
prompts, the logits after the prompt and the greedy continuation, and the
perplexity of heldout.txt. It needs torch, transformers and sentencepiece and
takes a few seconds.

Prompts are tokenized with tokenizer.model itself and begin with BOS, so the
ids do not depend on any wrapper's defaults. Greedy decoding runs the whole
sequence anew for each token and never stops, not even at EOS.
"""

import hashlib
import json
import os

import sentencepiece
import torch
import transformers

FOLDER = os.path.dirname(os.path.abspath(__file__))
BOS = 1
GREEDY_TOKENS = 48
TOP = 8

SHORT = "Once upon a time"
LONG_TOKENS = 300


def read(name):
    with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
        return file.read()


def sha256(name):
    with open(os.path.join(FOLDER, name), "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def logits_of(model, ids):
    return model(torch.tensor([ids])).logits[0].double()


def greedy(model, ids):
    """The continuation, and the least gap of any step's two best logits."""
    ids, start, gap = list(ids), len(ids), float("inf")
    for _ in range(GREEDY_TOKENS):
        best = logits_of(model, ids)[-1].topk(2)
        gap = min(gap, float(best.values[0] - best.values[1]))
        ids.append(int(best.indices[0]))
    return ids[start:], gap


def describe(model, tokenizer, name, ids, text, all_logits):
    last = logits_of(model, ids)[-1]
    top = last.topk(TOP)
    continuation, gap = greedy(model, ids)
    case = {
        "name": name,
        "prompt": text,
        "prompt_ids": ids,
        "last_logits_top8": [[int(i), round(float(v), 6)]
                             for i, v in zip(top.indices, top.values)],
        "logits_sum": round(float(last.sum()), 5),
        "logits_l2": round(float(last.norm()), 5),
        "greedy_ids": continuation,
        "greedy_text": tokenizer.decode(ids + continuation),
        "min_top2_gap": round(gap, 6),
    }
    if all_logits:
        case["last_logits"] = [round(float(v), 6) for v in last]
    return case


def perplexity(model, ids):
    """exp of the mean negative log-likelihood of every token after BOS."""
    log_probabilities = logits_of(model, ids)[:-1].log_softmax(-1)
    targets = torch.tensor(ids[1:])
    losses = -log_probabilities[torch.arange(len(targets)), targets]
    return float(losses.mean().exp()), len(targets)


@torch.no_grad()
def main():
    tokenizer = sentencepiece.SentencePieceProcessor(
        model_file=os.path.join(FOLDER, "tokenizer.model"))
    model = transformers.LlamaForCausalLM.from_pretrained(
        FOLDER, dtype=torch.float32, attn_implementation="eager").eval()

    held_out = [BOS] + tokenizer.encode(read("heldout.txt"))
    held_out_perplexity, held_out_tokens = perplexity(model, held_out)

    short = [BOS] + tokenizer.encode(SHORT)
    dialogue = '"Can I play with you?" asked Tom. Lily'
    two_lines = "The dog was hungry.\nHe saw a"
    cases = [
        describe(model, tokenizer, "short", short, SHORT, True),
        describe(model, tokenizer, "bos_only", [BOS], "", False),
        describe(model, tokenizer, "dialogue",
                 [BOS] + tokenizer.encode(dialogue), dialogue, False),
        describe(model, tokenizer, "newline",
                 [BOS] + tokenizer.encode(two_lines), two_lines, False),
        # The text is cut at a token, so `text` is what the ids decode to.
        describe(model, tokenizer, "long", held_out[:LONG_TOKENS],
                 tokenizer.decode(held_out[:LONG_TOKENS]), False),
    ]
    strings = [SHORT, dialogue, two_lines, "  two  spaces ", "caf\u00e9 \u2603",
               "12 apples, 345 pears!", ""]
    golden = {
        "made_by": f"transformers {transformers.__version__}, "
                   f"torch {torch.__version__.split('+')[0]}, fp32, CPU",
        "model_sha256": sha256("model.safetensors"),
        "tokenizer_sha256": sha256("tokenizer.model"),
        "tokenizer_cases": [{"text": s, "ids": tokenizer.encode(s)}
                            for s in strings],
        "cases": cases,
        "perplexity": {
            "file": "heldout.txt",
            "method": "the whole file as one document: BOS, then its tokens; "
                      "every token after BOS scored; exp of the mean",
            "tokens": held_out_tokens,
            "perplexity": round(held_out_perplexity, 5),
        },
    }
    path = os.path.join(FOLDER, "golden.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(golden, file, ensure_ascii=True)
        file.write("\n")
    print(f"{path}: held-out perplexity {held_out_perplexity:.4f} over "
          f"{held_out_tokens} tokens")
    for case in cases:
        print(f"{case['name']}: {len(case['prompt_ids'])} ids, gap "
              f"{case['min_top2_gap']:.4f}: {case['greedy_text']!r}")


if __name__ == "__main__":
    main()
