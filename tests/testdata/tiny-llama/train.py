#!/usr/bin/env python3
"""Trains tiny-llama: a 1.1 M parameter Llama that tells simple stories.

    python3 train.py --text=tinystories_train_2MiB.txt --output=.

writes config.json, generation_config.json, model.safetensors (bf16),
tokenizer.model, tokenizer_config.json and training.json (the loss curve) into
--output. It needs torch, numpy, sentencepiece and safetensors, takes about
20 minutes on one CPU core, and resumes from --checkpoint when it is stopped.
Seeds are fixed: the same versions on the same kind of CPU give the same file.

The text is the first 2 MiB of TinyStories' training split: Eldan and Li, 2023,
https://huggingface.co/datasets/roneneldan/TinyStories (TinyStories-train.txt),
licence CDLA-Sharing-1.0: 2,097,152 bytes, whose sha256 is TEXT_SHA256 below.

Two million characters are few for a million parameters, so the recipe guards
against learning them by heart: a twentieth of the stories, taken from the
end, is held out; it passes over the rest three times only, with weight
decay; the weights kept are those of the lowest validation loss.
"""

import argparse
import dataclasses
import hashlib
import io
import json
import math
import os
import random
import sys
import time

import numpy as np
import safetensors.torch
import sentencepiece
import torch
from torch import nn
from torch.nn import functional as F

TEXT_SHA256 = "5352b299dcb1a32898b2d779b145b5a05f3e1265953fd21c264c9f9f9c9ae33d"
TYPEWRITER = str.maketrans("\u201c\u201d\u2018\u2019\u2013\u2014", "\"\"''--")
STORY_END = "<|endoftext|>"
BOS, EOS = 1, 2
SEED = 20240501

HELD_OUT_FRACTION = 0.05
EVALUATE_EVERY_STEPS = 100


@dataclasses.dataclass(frozen=True)
class Config:
    """Every dimension is a multiple of 32, one word of a bit plane."""

    vocab: int = 1024
    hidden: int = 128
    intermediate: int = 384
    layers: int = 5
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 32
    context: int = 512
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5

    def to_huggingface(self):
        return {
            "architectures": ["LlamaForCausalLM"],
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": BOS,
            "eos_token_id": EOS,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "initializer_range": 0.02,
            "intermediate_size": self.intermediate,
            "max_position_embeddings": self.context,
            "mlp_bias": False,
            "model_type": "llama",
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.kv_heads,
            "rms_norm_eps": self.norm_eps,
            "rope_scaling": None,
            "rope_theta": self.rope_theta,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "use_cache": True,
            "vocab_size": self.vocab,
        }


# --- Text -------------------------------------------------------------------


def read_stories(path):
    """The text's stories but the last, which is cut in mid-sentence."""
    with open(path, "rb") as file:
        raw = file.read()
    if hashlib.sha256(raw).hexdigest() != TEXT_SHA256:
        print(f"note: {path} is not the text this model was made from "
              f"(sha256 {TEXT_SHA256})", file=sys.stderr)
    pieces = raw.decode("utf-8", errors="replace").split(STORY_END)[:-1]
    stories = [piece.strip().translate(TYPEWRITER) for piece in pieces]
    # Letters of other alphabets are too rare here to be learnt.
    return [story for story in stories if story and story.isascii()]


def train_tokenizer(stories, output, config):
    lines = (line for story in stories for line in story.split("\n") if line)
    # Through a buffer: a file's name would become part of the model.
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines,
        model_writer=model,
        model_type="bpe",
        vocab_size=config.vocab,
        byte_fallback=True,
        character_coverage=1.0,
        # As Llama's: text is taken as it is, so that decoding restores it.
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        unk_id=0,
        bos_id=BOS,
        eos_id=EOS,
        pad_id=-1,
        num_threads=1,
        minloglevel=1,
    )
    with open(os.path.join(output, "tokenizer.model"), "wb") as file:
        file.write(model.getvalue())


def pack(documents, length, rng):
    """One epoch: rows of `length` ids that each begin with a document.

    A row takes shuffled documents until it is full and cuts the last one; the
    next epoch's shuffle cuts elsewhere.
    """
    order = list(range(len(documents)))
    rng.shuffle(order)
    rows, row = [], []
    for index in order:
        row = row + documents[index]
        if len(row) >= length:
            rows.append(row[:length])
            row = []
    rng.shuffle(rows)
    return rows


# --- Model ------------------------------------------------------------------
# Modules carry HuggingFace's names, so the state dict is the checkpoint.


class RmsNorm(nn.Module):

    def __init__(self, config):
        super().__init__()
        self.eps = config.norm_eps
        self.weight = nn.Parameter(torch.ones(config.hidden))

    def forward(self, x):
        mean_square = x.float().square().mean(-1, keepdim=True)
        scale = (mean_square + self.eps).rsqrt()
        return x * scale.to(x.dtype) * self.weight.to(x.dtype)


class Attention(nn.Module):

    def __init__(self, config):
        super().__init__()
        self.config = config
        query = config.heads * config.head_dim
        key = config.kv_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden, query, bias=False)
        self.k_proj = nn.Linear(config.hidden, key, bias=False)
        self.v_proj = nn.Linear(config.hidden, key, bias=False)
        self.o_proj = nn.Linear(query, config.hidden, bias=False)

    def forward(self, x, cos, sin, mask):
        batch, length, _ = x.shape

        def split(y, heads):
            return y.view(batch, length, heads, -1).transpose(1, 2)

        def rotate(y):
            first, second = y.chunk(2, dim=-1)
            return y * cos + torch.cat((-second, first), dim=-1) * sin

        q = rotate(split(self.q_proj(x), self.config.heads))
        k = rotate(split(self.k_proj(x), self.config.kv_heads))
        v = split(self.v_proj(x), self.config.kv_heads)
        shared = self.config.heads // self.config.kv_heads
        k = k.repeat_interleave(shared, dim=1)
        v = v.repeat_interleave(shared, dim=1)
        # Plain products: on a CPU they train three times faster than the fused
        # attention, whose backward pass has no bf16 path worth its name.
        scores = q @ k.transpose(2, 3) * self.config.head_dim**-0.5
        scores = scores + mask
        y = scores.softmax(dim=-1).to(v.dtype) @ v
        return self.o_proj(y.transpose(1, 2).reshape(batch, length, -1))


class Mlp(nn.Module):

    def __init__(self, config):
        super().__init__()
        outer, inner = config.hidden, config.intermediate
        self.gate_proj = nn.Linear(outer, inner, bias=False)
        self.up_proj = nn.Linear(outer, inner, bias=False)
        self.down_proj = nn.Linear(inner, outer, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):

    def __init__(self, config):
        super().__init__()
        self.input_layernorm = RmsNorm(config)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RmsNorm(config)
        self.mlp = Mlp(config)

    def forward(self, x, cos, sin, mask):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):

    def __init__(self, config):
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab, config.hidden)
        self.layers = nn.ModuleList(
            Layer(config) for _ in range(config.layers))
        self.norm = RmsNorm(config)


class TinyLlama(nn.Module):

    def __init__(self, config):
        super().__init__()
        self.model = Decoder(config)
        half = torch.arange(0, config.head_dim, 2) / config.head_dim
        angle = torch.outer(torch.arange(config.context).float(),
                            config.rope_theta**-half)
        angle = torch.cat((angle, angle), dim=-1)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)
        for name, parameter in self.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                nn.init.zeros_(parameter)  # Each block begins as the identity.
            elif parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.02 if "embed" in name else
                                parameter.shape[1]**-0.5)

    def forward(self, ids, dtype=torch.float32):
        length = ids.shape[1]
        cos, sin = self.cos[:length].to(dtype), self.sin[:length].to(dtype)
        mask = torch.full((length, length), -math.inf, dtype=dtype).triu(1)
        x = self.model.embed_tokens(ids).to(dtype)
        for layer in self.model.layers:
            x = layer(x, cos, sin, mask)
        return F.linear(self.model.norm(x), self.model.embed_tokens.weight)


# --- Training ---------------------------------------------------------------


class Muon(torch.optim.Optimizer):
    """Momentum whose matrix updates are made orthogonal (Jordan et al., 2024).

    It reaches a given loss in markedly fewer steps than AdamW, and steps are
    what a CPU has too few of. Five Newton-Schulz iterations with the published
    quintic coefficients push the update's singular values towards one.
    """

    def __init__(self, params, lr, momentum, weight_decay):
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @staticmethod
    def orthogonal(update):
        tall = update.shape[0] > update.shape[1]
        x = update.T if tall else update
        x = x / (x.norm() + 1e-7)
        for _ in range(5):
            gram = x @ x.T
            x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
        return x.T if tall else x

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                mean = state.setdefault("mean", torch.zeros_like(p))
                mean.lerp_(p.grad, 1 - group["momentum"])
                update = p.grad.lerp(mean, group["momentum"])  # Nesterov.
                scale = max(1.0, p.shape[0] / p.shape[1])**0.5
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(self.orthogonal(update), alpha=-group["lr"] * scale)


def learning_rate_factor(step, steps):
    """A short warm-up, a plateau, then a straight line to zero."""
    warm_up, decay = 20, 0.6 * steps
    return min((step + 1) / warm_up, 1.0, (steps - step) / decay)


def loss_of(model, rows):
    ids = torch.as_tensor(np.array(rows))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(ids[:, :-1], torch.bfloat16)
    return F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())


@torch.no_grad()
def validation_loss(model, rows):
    losses = [loss_of(model, rows[i:i + 8]).item() * len(rows[i:i + 8])
              for i in range(0, len(rows), 8)]
    return sum(losses) / len(rows)


@torch.no_grad()
def sample(model, tokenizer, prompt, new_tokens, context, temperature=0.0):
    generator = torch.Generator().manual_seed(SEED)
    ids = [BOS] + tokenizer.encode(prompt)
    for _ in range(new_tokens):
        logits = model(torch.tensor([ids[-context:]]))[0, -1].float()
        if temperature == 0:
            token = int(logits.argmax())
        else:
            token = int(torch.multinomial(
                (logits / temperature).softmax(-1), 1, generator=generator))
        if token == EOS:
            break
        ids.append(token)
    return tokenizer.decode(ids)


class Trainer:
    """The loop and its state; everything a checkpoint holds is in `state`."""

    def __init__(self, args, config, train, held_out):
        self.args, self.config, self.train = args, config, train
        self.length = config.context + 1
        self.held_out = pack(held_out, self.length, random.Random(SEED))
        self.model = TinyLlama(config)
        matrices = [p for n, p in self.model.named_parameters()
                    if p.ndim == 2 and "embed" not in n]
        others = [p for n, p in self.model.named_parameters()
                  if p.ndim == 1 or "embed" in n]
        self.optimizers = [
            Muon(matrices, lr=0.02, momentum=0.95, weight_decay=0.1),
            torch.optim.AdamW(others, lr=0.004, betas=(0.9, 0.95),
                              weight_decay=0.01),
        ]
        self.peak_rates = [o.param_groups[0]["lr"] for o in self.optimizers]
        self.step, self.seconds, self.curve = 0, 0.0, []
        self.best = (math.inf, None)

    def batches(self):
        """Endless rows; the epoch's number seeds its shuffle."""
        epoch = 0
        while True:
            rows = pack(self.train, self.length, random.Random(SEED + epoch))
            for i in range(0, len(rows) - self.args.batch + 1, self.args.batch):
                yield rows[i:i + self.args.batch]
            epoch += 1

    def save(self):
        if not self.args.checkpoint:
            return
        state = {
            "model": self.model.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "step": self.step, "seconds": self.seconds, "curve": self.curve,
            "best": self.best, "rng": torch.get_rng_state(),
        }
        torch.save(state, self.args.checkpoint + ".part")
        os.replace(self.args.checkpoint + ".part", self.args.checkpoint)

    def restore(self):
        if not (self.args.checkpoint and os.path.exists(self.args.checkpoint)):
            return
        state = torch.load(self.args.checkpoint, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"]):
            optimizer.load_state_dict(saved)
        self.step, self.seconds = state["step"], state["seconds"]
        self.curve, self.best = state["curve"], tuple(state["best"])
        torch.set_rng_state(state["rng"])
        print(f"resuming at step {self.step}")

    def evaluate(self, train_loss):
        loss = validation_loss(self.model, self.held_out)
        self.curve.append({
            "step": self.step,
            "train_loss": round(train_loss, 4),
            "validation_loss": round(loss, 4),
        })
        if loss < self.best[0]:
            self.best = (loss, {name: value.clone() for name, value
                                in self.model.state_dict().items()})
        left = self.seconds / self.step * (self.args.steps - self.step)
        print(f"step {self.step}/{self.args.steps}  train {train_loss:.3f}  "
              f"validation {loss:.3f}  {self.seconds / 60:.1f} min, "
              f"{left / 60:.1f} min left", flush=True)
        self.save()

    def run(self):
        batches = self.batches()
        for _ in range(self.step):
            next(batches)  # The order of a resumed run is that of a whole one.
        recent = []
        while self.step < self.args.steps:
            start = time.monotonic()
            factor = learning_rate_factor(self.step, self.args.steps)
            for optimizer, peak in zip(self.optimizers, self.peak_rates):
                for group in optimizer.param_groups:
                    group["lr"] = peak * factor
            loss = loss_of(self.model, next(batches))
            loss.backward()
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            recent.append(loss.item())
            self.step += 1
            self.seconds += time.monotonic() - start
            if (self.step in (1, 10, self.args.steps) or
                    self.step % EVALUATE_EVERY_STEPS == 0):
                self.evaluate(sum(recent) / len(recent))
                recent = []
        return self.best


def write_json(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.write("\n")


def write_model(output, config, weights):
    """The weights as bf16 under HuggingFace's names, and the json files."""
    tensors = {name: value.to(torch.bfloat16).contiguous()
               for name, value in weights.items()}
    safetensors.torch.save_file(
        tensors, os.path.join(output, "model.safetensors"),
        metadata={"format": "pt"})
    write_json(output, "config.json", config.to_huggingface())
    write_json(output, "generation_config.json",
               {"bos_token_id": BOS, "eos_token_id": EOS})
    write_json(output, "tokenizer_config.json", {
        "add_bos_token": True,
        "add_eos_token": False,
        "bos_token": "<s>",
        "clean_up_tokenization_spaces": False,
        "eos_token": "</s>",
        "legacy": True,
        "model_max_length": config.context,
        "sp_model_kwargs": {},
        "tokenizer_class": "LlamaTokenizer",
        "unk_token": "<unk>",
    })


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--text", required=True, help="see the file's head")
    parser.add_argument("--output", default=".")
    parser.add_argument("--checkpoint", default="", help="file to resume from")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=4,
                        help="sequences of 512 tokens a step")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main():
    args, config = parse_args(), Config()
    os.makedirs(args.output, exist_ok=True)
    torch.manual_seed(SEED)
    torch.set_num_threads(args.threads)

    stories = read_stories(args.text)
    held_out_count = int(len(stories) * HELD_OUT_FRACTION)
    train, held_out = stories[:-held_out_count], stories[-held_out_count:]
    train_tokenizer(train, args.output, config)
    tokenizer = sentencepiece.SentencePieceProcessor(
        model_file=os.path.join(args.output, "tokenizer.model"))

    def encode(texts):
        return [[BOS] + tokenizer.encode(text) + [EOS] for text in texts]

    trainer = Trainer(args, config, encode(train), encode(held_out))
    tokens = sum(len(document) for document in trainer.train)
    parameters = sum(p.numel() for p in trainer.model.parameters())
    print(f"{len(train)} stories, {tokens} tokens; {held_out_count} held out; "
          f"{parameters} parameters; {args.steps} steps = "
          f"{args.steps * args.batch * config.context / tokens:.1f} epochs")
    trainer.restore()
    _, weights = trainer.run()

    write_model(args.output, config, weights)
    model = TinyLlama(config)
    model.load_state_dict({name: value.to(torch.bfloat16).float()
                           for name, value in weights.items()})
    write_json(args.output, "training.json", {
        "parameters": parameters,
        "train_tokens": tokens,
        "steps": args.steps,
        "tokens_per_step": args.batch * config.context,
        "minutes": round(trainer.seconds / 60, 1),
        "final_validation_loss_bf16_weights": round(
            validation_loss(model, trainer.held_out), 4),
        "final_train_loss_bf16_weights": round(validation_loss(
            model, pack(trainer.train, trainer.length,
                        random.Random(0))[:len(trainer.held_out)]), 4),
        "curve": trainer.curve,
    })
    for prompt in ("Once upon a time", "Lily and Tom went to the park"):
        for temperature in (0.0, 0.7):
            text = sample(model, tokenizer, prompt, 150, config.context,
                          temperature)
            print(f"\n[temperature {temperature}] {text}")


if __name__ == "__main__":
    main()
