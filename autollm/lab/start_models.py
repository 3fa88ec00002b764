"""Start models of `rl_tuning`: small decoders that SFT brought to a success of .15 to
.3 on their task, sampled at temperature 1.

They are made once and kept. SFT teaches the second task first, until it is often right,
then both, every size of each. Invariant: a start model depends on (task, shape) and the
code's RECIPE alone, up to the rounding of the machine that made it.
"""

from __future__ import annotations

import copy
import json
import os
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from autollm.core.errors import SetupError
from autollm.core.records import canonical_json, content_hash
from autollm.lab.tasks import (
    ALPHABET,
    MAX_ANSWER,
    RETAINED,
    SHIFTED,
    SIZES,
    Example,
    is_right,
    make,
)

PAD, END = "<pad>", "<end>"
VOCABULARY = {token: i for i, token in enumerate((PAD, END, *ALPHABET))}
RECIPE = {
    "band": [0.15, 0.3],
    "batch": 256,
    "rate": 2e-3,
    "check_every": 25,
    "max_steps": 6000,
    "retained_share": 0.5,
    "retained_success": 0.4,
    "version": 5,
}
PROMPTS = 512
"""Prompts of a check."""


def recipe_sha256() -> str:
    """Names the start models: what they are made from."""
    return content_hash(
        canonical_json(
            {
                **RECIPE,
                "sizes": SIZES,
                "shifted": SHIFTED,
                "retained": RETAINED,
                "alphabet": ALPHABET,
            }
        ),
        64,
    )


def start_model(task: str, width: int, layers: int, cache_dir: Path) -> Path:
    """Folder of a start model; trained when it is not there yet.

    Raises:
        SetupError: SFT did not reach the band.
    """
    folder = cache_dir / f"start-{task}-{width}x{layers}-{recipe_sha256()[:12]}"
    if not (folder / "start.json").exists():
        model, reached, steps = _train(task, width, layers)
        own = folder.with_name(
            f".{folder.name}.{os.getpid()}"
        )  # several workers may make the same one
        model.save_pretrained(own)
        tokenizer().save_pretrained(own)
        (own / "start.json").write_text(
            json.dumps({"success": reached, "steps": steps, "recipe": RECIPE})
        )
        try:
            own.rename(folder)
        except OSError:
            shutil.rmtree(own)
    return folder


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a character."""
    inner = Tokenizer(models.WordLevel(VOCABULARY, unk_token=PAD))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    inner.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token=PAD,
        eos_token=END,
        padding_side="left",
    )


@torch.no_grad()
def generate_answers(
    model: Qwen3ForCausalLM, prompts: Sequence[str], temperature: float = 0.0
) -> list[str]:
    """The model's answer to each prompt, greedy or sampled."""
    tok, out = tokenizer(), []
    sampling = (
        {"do_sample": True, "temperature": temperature, "top_k": 0}
        if temperature
        else {"do_sample": False}
    )
    for i in range(0, len(prompts), PROMPTS):
        batch = tok(
            list(prompts[i : i + PROMPTS]),
            return_tensors="pt",
            padding=True,
            return_token_type_ids=False,
        )
        ids = model.generate(
            **batch,
            max_new_tokens=MAX_ANSWER,
            pad_token_id=tok.pad_token_id,
            eos_token_id=tok.eos_token_id,
            **sampling,
        )
        out += [
            text.split(END)[0]
            for text in tok.batch_decode(ids[:, batch["input_ids"].shape[1] :])
        ]
    return out


def success_rate(model: Qwen3ForCausalLM, examples: Sequence[Example]) -> float:
    """Share of examples that answers sampled at temperature 1 solve: what reinforcement
    learning begins with.
    """
    prompts, state = [e.prompt for e in examples], torch.random.get_rng_state()
    torch.manual_seed(0)
    answers = generate_answers(model, prompts, temperature=1.0)
    torch.random.set_rng_state(state)
    return sum(
        is_right(p, a) for p, a in zip(prompts, answers, strict=True)
    ) / len(prompts)


def _train(
    task: str, width: int, layers: int
) -> tuple[Qwen3ForCausalLM, float, int]:
    model, rng, other = (
        _fresh(width, layers),
        random.Random(f"sft {task}"),
        RETAINED[task],
    )
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=RECIPE["rate"],
        betas=(0.9, 0.95),
        weight_decay=0.0,
    )
    first = _sft(
        model,
        optimizer,
        lambda: _example(other, rng),
        other,
        [RECIPE["retained_success"], 1.0],
    )
    both = _sft(
        model,
        optimizer,
        lambda: _example(
            other if rng.random() < RECIPE["retained_share"] else task, rng
        ),
        task,
        RECIPE["band"],
    )
    return model.eval(), both[0], first[1] + both[1]


def _sft(
    model: Qwen3ForCausalLM,
    optimizer: torch.optim.Optimizer,
    draw: Callable[[], Example],
    task: str,
    band: list[float],
) -> tuple[float, int]:
    """Train until the success on a task lies in a band; that, and the steps it took.
    Overshooting goes back, with smaller steps.
    """
    check = [
        make(
            task, SIZES[task][i % len(SIZES[task])], random.Random(f"check {i}")
        )
        for i in range(PROMPTS)
    ]
    kept = copy.deepcopy(model.state_dict())
    for step in range(1, RECIPE["max_steps"] + 1):
        loss = answer_loss(model, [draw() for _ in range(RECIPE["batch"])])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % RECIPE["check_every"] == 0:
            reached = success_rate(model, check)
            if band[0] <= reached <= band[1]:
                return reached, step
            if reached > band[1]:
                model.load_state_dict(kept)
                for group in optimizer.param_groups:
                    group["lr"] /= 4
            else:
                kept = copy.deepcopy(model.state_dict())
    raise SetupError(
        f"SFT of {task} did not reach a success in {band} in {RECIPE['max_steps']} "
        "steps. "
        "Fix: change RECIPE in autollm/lab/start_models.py, as a new version of the family."
    )


def _fresh(width: int, layers: int) -> Qwen3ForCausalLM:
    tok = tokenizer()
    config = Qwen3Config(
        vocab_size=len(tok),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 16,
        num_key_value_heads=width // 16,
        head_dim=16,
        intermediate_size=3 * width,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        initializer_range=0.1,
        bos_token_id=None,
        eos_token_id=tok.eos_token_id,
        pad_token_id=tok.pad_token_id,
    )
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(config)
    torch.random.set_rng_state(state)
    return model


def _example(task: str, rng: random.Random) -> Example:
    return make(task, rng.choice(SIZES[task] + SHIFTED[task]), rng)


def answer_loss(
    model: Qwen3ForCausalLM, examples: Sequence[Example]
) -> torch.Tensor:
    """Mean cross entropy of the answers' tokens, their ends included."""
    rows = [(e.prompt, e.answer) for e in examples]
    longest = max(len(p) + len(a) + 1 for p, a in rows)
    padded = []
    for prompt, answer in rows:
        padding = [VOCABULARY[PAD]] * (longest - len(prompt) - len(answer) - 1)
        text = [VOCABULARY[c] for c in prompt + answer]
        padded.append([*padding, *text, VOCABULARY[END]])
    ids = torch.tensor(padded)
    counts = (
        torch.arange(longest)[None]
        >= torch.tensor([longest - len(a) - 1 for _, a in rows])[:, None]
    )
    logits = model(
        input_ids=ids, attention_mask=(ids != VOCABULARY[PAD]).long()
    ).logits[:, :-1]
    return F.cross_entropy(logits[counts[:, 1:]], ids[:, 1:][counts[:, 1:]])
