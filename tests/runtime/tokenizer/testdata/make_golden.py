#!/usr/bin/env python3
"""Makes the small tokenizers of this folder and what they must answer.

Needs the PyPI packages tokenizers (0.23.3 was used), sentencepiece and jinja2.
The vocabularies are trained on this very file; ids, texts and prompts in
golden.json are what HuggingFace's tokenizers, sentencepiece and Jinja (set up
as transformers' apply_chat_template sets it up) make of the cases below.
"""

import io
import json
import pathlib

import jinja2
import jinja2.sandbox
import sentencepiece
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers
from tokenizers import processors, trainers

HERE = pathlib.Path(__file__).parent

TEXTS = [
    "",
    " ",
    "   ",
    "a",
    "Once upon a time",
    " leading and trailing ",
    "two  spaces,   three, tabs\t\tand\r\nlines\n\n\nend",
    "it's WE'RE they'll I'd don't",
    "numbers 1 12 123 1234 3.14159 \u00bd \u0661\u0662 \u2167",
    "caf\u00e9 na\u00efve \u00fcber \u0436\u0443\u043a \u4f60\u597d "
    "\u3053\u3093 \U0001f999\U0001f1eb\U0001f1f7",
    "e\u0301 \u00a0nbsp\u2003em\u3000ideographic\u2028line\u0085nel",
    "\u2581 is a lower block, \u2581\u2581two",
    "<s>in text</s> <unk> <0x0A> [INST]",
    "<|im_start|>user\nhi<|im_end|>\n",
    "<|im_start|>  <|im_end|><|im_start|>",
    "word<|mask|>  next  <|mask|>",
    "anyprec added tokenizer anyprecanyprec",
    "x<|begin|>y <|begin|> <|end|>",
    "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
    "the the the tokenizers tokenizers golden golden of of vocabularies " * 3,
    "!!!???...,,,;;; -- ((())) {[<>]} $%^&*",
    "nul\u0000inside\u0001\u007f",
]

CORPUS = pathlib.Path(__file__).read_text().splitlines()
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def added(text, **options):
    return tokenizers.AddedToken(text, **options)


def byte_level():
    """SmolLM2's pipeline: single digits, then GPT-2's words."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=420,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.add_special_tokens([added("<|mask|>", lstrip=True, rstrip=True)])
    tokenizer.add_tokens(["anyprec"])
    return tokenizer


def llama3():
    """Llama 3's: one pattern, whole words before merges, BOS in front."""
    tokenizer = tokenizers.Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(tokenizers.Regex(LLAMA3_PATTERN), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=460,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    tokenizer.add_special_tokens(["<|begin|>", "<|end|>"])
    bos = tokenizer.token_to_id("<|begin|>")
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=True),
        processors.TemplateProcessing(
            single="<|begin|> $A", special_tokens=[("<|begin|>", bos)]),
    ])
    return tokenizer


def byte_fallback(metaspace):
    """Llama 2's: no words, spaces as U+2581, bytes for unknown characters."""
    tokenizer = tokenizers.Tokenizer(
        models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if metaspace:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(
            prepend_scheme="first", split=False)
    else:
        tokenizer.normalizer = normalizers.Sequence([
            normalizers.Prepend("\u2581"),
            normalizers.Replace(" ", "\u2581"),
        ])
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("\u2581", " "),
        decoders.ByteFallback(),
        decoders.Fuse(),
        decoders.Strip(" ", 1, 0),
    ])
    special = ["<unk>", "<s>", "</s>"]
    tokenizer.train_from_iterator(
        [line for line in CORPUS if line.isascii()],
        trainers.BpeTrainer(
            vocab_size=600,
            special_tokens=special + [f"<0x{i:02X}>" for i in range(256)],
            show_progress=False,
        ),
    )
    # The trainer makes every special token an added one; bytes are not.
    document = json.loads(tokenizer.to_str())
    document["added_tokens"] = [
        dict(token, normalized=not metaspace)
        for token in document["added_tokens"]
        if token["content"] in special
    ]
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(document))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>" if metaspace else "<s> $A",
        special_tokens=[("<s>", 1), ("</s>", 2)])
    return tokenizer


def cases(tokenizer):
    result = []
    # Decoded, a special token that is normalized would show what normalizing
    # made of its name, and skip_special_tokens would miss it.
    document = json.loads(tokenizer.to_str())
    for token in document["added_tokens"]:
        token["normalized"] = False
    decoder = tokenizers.Tokenizer.from_str(json.dumps(document))
    for text in TEXTS:
        entry = {"text": text}
        for name, special, parse in (
            ("ids", False, False),
            ("ids_special", True, True),
        ):
            tokenizer.encode_special_tokens = not parse
            encoding = tokenizer.encode(text, add_special_tokens=special)
            entry[name] = encoding.ids
        for name, skip in (("decoded", True), ("decoded_special", False)):
            entry[name] = decoder.decode(
                entry["ids_special"], skip_special_tokens=skip)
        result.append(entry)
    return result


def sentencepiece_cases():
    folder = HERE / "sentencepiece"
    folder.mkdir(exist_ok=True)
    writer = io.BytesIO()  # A file's name would stand in the model.
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=writer,
        model_type="bpe",
        vocab_size=500,
        byte_fallback=True,
        user_defined_symbols=["anyprec"],
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    (folder / "tokenizer.model").write_bytes(writer.getvalue())
    processor = sentencepiece.SentencePieceProcessor(
        model_proto=writer.getvalue())
    return [{"text": text, "ids": processor.encode(text)} for text in TEXTS]


TEMPLATES = {
    "smollm2": (
        "{% for message in messages %}{% if loop.first and "
        "messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a "
        "helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>"
        "\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + "
        "message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if "
        "add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"),
    "chatml": (
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + "
        "'\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
        "{% endif %}"),
    "llama2": (
        "{% if messages[0]['role'] == 'system' %}{% set loop_messages = "
        "messages[1:] %}{% set system_message = messages[0]['content'] %}"
        "{% else %}{% set loop_messages = messages %}{% set system_message = "
        "false %}{% endif %}{% for message in loop_messages %}{% if "
        "(message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles must alternate') }}{% endif %}{% if "
        "loop.index0 == 0 and system_message != false %}{% set content = "
        "'<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + "
        "message['content'] %}{% else %}{% set content = message['content'] "
        "%}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + "
        "'[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] "
        "== 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}"
        "{% endif %}{% endfor %}"),
    "llama3": (
        "{% set loop_messages = messages %}{% for message in loop_messages %}"
        "{% set content = '<|start_header_id|>' + message['role'] + "
        "'<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' %}"
        "{% if loop.index0 == 0 %}{% set content = bos_token + content %}"
        "{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
        "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
        "{% endif %}"),
    "llama3.1": (
        "{{- bos_token }}\n{%- if not date_string is defined %}\n    "
        "{%- set date_string = \"26 Jul 2024\" %}\n{%- endif %}\n"
        "{%- if messages[0]['role'] == 'system' %}\n    {%- set "
        "system_message = messages[0]['content']|trim %}\n    {%- set "
        "messages = messages[1:] %}\n{%- else %}\n    {%- set system_message "
        "= \"\" %}\n{%- endif %}\n"
        "{{- \"<|start_header_id|>system<|end_header_id|>\\n\\n\" }}\n"
        "{{- \"Cutting Knowledge Date: December 2023\\n\" }}\n"
        "{{- \"Today Date: \" + date_string + \"\\n\\n\" }}\n"
        "{{- system_message }}\n{{- \"<|eot_id|>\" }}\n"
        "{%- for message in messages %}\n    {{- '<|start_header_id|>' + "
        "message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | "
        "trim + '<|eot_id|>' }}\n{%- endfor %}\n{%- if add_generation_prompt "
        "%}\n    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}"
        "\n{%- endif %}\n"),
    "zephyr": (
        "{% for message in messages %}\n{% if message['role'] == 'user' %}\n"
        "{{ '<|user|>\n' + message['content'] + eos_token }}\n{% elif "
        "message['role'] == 'system' %}\n{{ '<|system|>\n' + "
        "message['content'] + eos_token }}\n{% elif message['role'] == "
        "'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + "
        "eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt "
        "%}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"),
    "mistral-v0.1": (
        "{{ bos_token }}{% for message in messages %}{% if (message['role'] "
        "== 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles "
        "must alternate') }}{% endif %}{% if message['role'] == 'user' %}"
        "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif "
        "message['role'] == 'assistant' %}{{ message['content'] + eos_token "
        "+ ' ' }}{% else %}{{ raise_exception('Only user and assistant roles "
        "are supported!') }}{% endif %}{% endfor %}"),
    "mistral-v0.2": (
        "{{ bos_token }}{% for message in messages %}{% if (message['role'] "
        "== 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles "
        "must alternate') }}{% endif %}{% if message['role'] == 'user' %}"
        "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% elif "
        "message['role'] == 'assistant' %}{{ message['content'] + eos_token}}"
        "{% else %}{{ raise_exception('Only user and assistant roles are "
        "supported!') }}{% endif %}{% endfor %}"),
    "mistral-v0.3": (
        "{%- if messages[0][\"role\"] == \"system\" %}\n    {%- set "
        "system_message = messages[0][\"content\"] %}\n    {%- set "
        "loop_messages = messages[1:] %}\n{%- else %}\n    {%- set "
        "loop_messages = messages %}\n{%- endif %}\n{%- for message in "
        "loop_messages %}\n    {%- if (message[\"role\"] == \"user\") != "
        "(loop.index0 % 2 == 0) %}\n        {{- raise_exception(\"roles must "
        "alternate\") }}\n    {%- endif %}\n{%- endfor %}\n{{- bos_token }}\n"
        "{%- for message in loop_messages %}\n    {%- if message[\"role\"] == "
        "\"user\" %}\n        {%- if loop.last and system_message is defined "
        "%}\n            {{- \"[INST] \" + system_message + \"\\n\\n\" + "
        "message[\"content\"] + \"[/INST]\" }}\n        {%- else %}\n"
        "            {{- \"[INST] \" + message[\"content\"] + \"[/INST]\" }}\n"
        "        {%- endif %}\n    {%- elif message[\"role\"] == "
        "\"assistant\" %}\n        {{- \" \" + message[\"content\"]|trim + "
        "eos_token}}\n    {%- endif %}\n{%- endfor %}\n"),
}

CHATS = [
    [("user", "What is the capital of France?")],
    [("user", "  spaces \n\n around \t")],
    [("system", " Be brief. "), ("user", " Hi ")],
    [("user", "Hi"), ("assistant", " Hello! "), ("user", "Who are you?")],
    [("system", "S"), ("user", "Hi\n"), ("assistant", "\nHo"),
     ("user", "Again <|im_end|></s>[INST]")],
    [("user", ""), ("assistant", ""), ("user", "\u2003wide\u3000")],
]


def render(template, messages, add_generation_prompt):
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = raise_exception
    try:
        return environment.from_string(template).render(
            messages=messages, bos_token="<s>", eos_token="</s>",
            add_generation_prompt=add_generation_prompt)
    except jinja2.exceptions.TemplateError:
        return None


def chat_cases():
    result = []
    for name, template in TEMPLATES.items():
        entry = {"name": name, "template": template, "chats": []}
        for chat in CHATS:
            messages = [{"role": r, "content": c} for r, c in chat]
            entry["chats"].append({
                "messages": messages,
                "prompt": render(template, messages, True),
                "history": render(template, messages, False),
            })
        result.append(entry)
    return result


def main():
    made = {
        "byte_level": byte_level(),
        "llama3": llama3(),
        "byte_fallback": byte_fallback(metaspace=False),
        "metaspace": byte_fallback(metaspace=True),
    }
    golden = {"tokenizers": {}, "sentencepiece": sentencepiece_cases(),
              "chat_templates": chat_cases()}
    for name, tokenizer in made.items():
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        document = json.loads(tokenizer.to_str())
        # Two of the merges' spellings: arrays, and strings as in older files.
        if name == "byte_level":
            document["model"]["merges"] = [
                " ".join(merge) for merge in document["model"]["merges"]]
        (folder / "tokenizer.json").write_text(
            json.dumps(document, ensure_ascii=True, indent=None,
                       separators=(",", ":")) + "\n")
        golden["tokenizers"][name] = cases(tokenizer)
    (HERE / "golden.json").write_text(
        json.dumps(golden, ensure_ascii=True, indent=1) + "\n")


if __name__ == "__main__":
    main()
