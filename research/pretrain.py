"""Pre-training of the base model on generated practice alone: `python -m
research.pretrain --out var/pretrain`.

A plain loop: cross entropy on the text of turns, and on each value the cross entropy
with the teacher's distribution. Resumable: a state is kept every `checkpoint_every`
chunks, and chunk i holds the same examples in any run. `log.csv` has one line a chunk.

Invariant: an interrupted run that is started again ends with the weights of an
uninterrupted one, up to float rounding.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from autollm.agent.checkpoints import (
    Checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from autollm.agent.profiles import Architecture, Strict, load_profile
from autollm.core.identity import checkpoint_digest
from research.batches import CHUNK, TOOL_STUBS, Batch, Encoder, stream
from research.model import build_model, n_parameters
from research.muon import Muon
from research.practice import practice_example
from research.tokenizer import CHAT_TEMPLATE, build_tokenizer, value_ids

TOKENIZER_SEEDS = range(999_999_000, 1_000_000_000)
VALIDATION_CHUNK = 1_000_000
"""Index of the frozen chunk whose loss is logged; training never gets that far."""
FIELDS = (
    "chunk",
    "episodes",
    "tokens",
    "seconds",
    "learning_rate",
    "text_loss",
    "value_loss",
    "validation_value_loss",
)


class PretrainConfig(Strict):
    """`chunks` of 256 episodes. `matrix_rate` is Muon's, for the layers' matrices (it
    learnt in half the episodes that AdamW took); `learning_rate` is AdamW's, for
    embeddings and scales. `text_weight`: of the ordinary loss beside the teacher's.
    `bf16` pays only on CPUs with instructions for it: elsewhere it was five times
    slower. `start`: a checkpoint of an earlier lesson to go on from; empty for fresh
    weights.
    """

    profile: str = "tiny"
    chunks: int = 400
    batch_size: int = 32
    learning_rate: float = 2.5e-3
    matrix_rate: float = 6e-3
    warmup_chunks: int = 8
    decay_share: float = 0.3
    weight_decay: float = 0.01
    text_weight: float = 1.0
    checkpoint_every: int = 25
    workers: int = 1
    bf16: bool = False
    start: str = ""
    seed: int = 0


class Pretraining:
    """Model, optimizer and position of one run."""

    def __init__(self, config: PretrainConfig):
        self.config = config
        self.tokenizer = make_tokenizer()
        self.model, self.before = (
            build_model(
                load_profile(config.profile).architecture or Architecture(),
                self.tokenizer,
                config.seed,
            ),
            {},
        )
        if config.start:
            earlier = load_checkpoint(config.start)
            self.before = earlier.metadata
            adopt(self.model, self.tokenizer, earlier)
        matrices = [
            p
            for name, p in self.model.named_parameters()
            if p.ndim == 2 and "embed" not in name
        ]
        others = [
            p
            for name, p in self.model.named_parameters()
            if p.ndim != 2 or "embed" in name
        ]
        self.optimizers = (
            Muon(
                matrices,
                lr=config.matrix_rate,
                weight_decay=config.weight_decay,
            ),
            torch.optim.AdamW(
                others,
                lr=config.learning_rate,
                betas=(0.9, 0.95),
                weight_decay=0.0,
            ),
        )
        self.values = torch.from_numpy(value_ids(self.tokenizer))
        self.chunk, self.tokens, self.seconds = 0, 0, 0.0

    def learn(self, batches: list[Batch]) -> dict[str, float]:
        """One chunk; returns its mean losses."""
        factor = schedule(self.config, self.chunk)
        for optimizer, rate in zip(
            self.optimizers,
            (self.config.matrix_rate, self.config.learning_rate),
            strict=True,
        ):
            optimizer.param_groups[0]["lr"] = rate * factor
        sums = np.zeros(2)
        for batch in batches:
            text_loss, value_loss = self.losses(batch)
            (self.config.text_weight * text_loss + value_loss).backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            for optimizer in self.optimizers:
                optimizer.step()
            self.model.zero_grad(set_to_none=False)
            sums += [text_loss.item(), value_loss.item()]
            self.tokens += batch.tokens.size
        self.chunk += 1
        text_loss, value_loss = sums / len(batches)
        return {
            "learning_rate": self.config.learning_rate * factor,
            "text_loss": text_loss,
            "value_loss": value_loss,
        }

    def losses(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean loss of a turn's text, and of its values (0 where the teacher's
        distribution is met exactly).
        """
        n = len(batch.text)
        tokens = torch.from_numpy(batch.tokens)
        positions = torch.from_numpy(
            np.concatenate([batch.text, batch.values]) - 1
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.bf16):
            hidden = self.model.model(
                input_ids=tokens, use_cache=False
            ).last_hidden_state
            logits = self.model.lm_head(
                hidden.reshape(-1, hidden.shape[-1])[positions]
            )
        log_p = torch.log_softmax(logits.float(), dim=-1)
        text_loss = (
            -log_p[:n]
            .gather(
                1, tokens.reshape(-1)[torch.from_numpy(batch.text)][:, None]
            )
            .mean()
        )
        target, weight = (
            torch.from_numpy(batch.targets),
            torch.from_numpy(batch.importance),
        )
        divergence = (
            torch.special.xlogy(target, target)
            - target * log_p[n:][:, self.values]
        ).sum(dim=1)
        return text_loss, (weight * divergence).sum() / weight.sum()

    def state(self) -> dict:
        return {
            "model": self.model.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "chunk": self.chunk,
            "tokens": self.tokens,
            "seconds": self.seconds,
        }

    def load_state(self, state: dict) -> None:
        self.model.load_state_dict(state["model"])
        for optimizer, kept in zip(
            self.optimizers, state["optimizers"], strict=True
        ):
            optimizer.load_state_dict(kept)
        self.chunk, self.tokens, self.seconds = (
            state["chunk"],
            state["tokens"],
            state["seconds"],
        )


def schedule(config: PretrainConfig, chunk: int) -> float:
    """Factor of the learning rates: linear warm-up, a plateau, then a line to a
    hundredth. The plateau does not depend on the number of chunks, so that a run can be
    cut short or go on by naming another.
    """
    left = (config.chunks - chunk) / max(
        1.0, config.decay_share * config.chunks
    )
    return float(max(0.01, min(1.0, (chunk + 1) / config.warmup_chunks, left)))


def pretrain(config: PretrainConfig, out: Path) -> Path:
    """Train (or go on with) the base model of a profile; returns the checkpoint's
    folder, `out`/final.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(config.model_dump_json(indent=1))
    run = Pretraining(config)
    state_path = out / "state.pt"
    if state_path.exists():
        run.load_state(torch.load(state_path, weights_only=True))
        print(
            f"going on at chunk {run.chunk} of {config.chunks}",
            file=sys.stderr,
            flush=True,
        )
    validation = Encoder(run.tokenizer).chunk(
        VALIDATION_CHUNK, config.batch_size
    )
    chunks = stream(run.tokenizer, run.chunk, config.batch_size, config.workers)
    begin = time.monotonic() - run.seconds
    while run.chunk < config.chunks:
        index, batches = next(chunks)
        line = run.learn(batches)
        run.seconds = time.monotonic() - begin
        last = run.chunk == config.chunks
        line["validation_value_loss"] = (
            _validate(run, validation)
            if last or run.chunk % config.checkpoint_every == 0
            else ""
        )
        _log(
            out,
            {
                "chunk": index,
                "episodes": run.chunk * CHUNK,
                "tokens": run.tokens,
                "seconds": round(run.seconds, 1),
                **line,
            },
        )
        if last or run.chunk % config.checkpoint_every == 0:
            _keep(run, state_path)
            save_base(run, out / f"chunk-{run.chunk}")
    chunks.close()
    return save_base(run, out / "final")


def adopt(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    earlier: Checkpoint,
) -> None:
    """Give `model` the weights of an earlier lesson. A token that the earlier
    vocabulary lacks starts as the mean of its pieces there.
    """
    weights, old = model.state_dict(), earlier.model.state_dict()
    pieces = [
        earlier.tokenizer.convert_tokens_to_ids([token])
        if token in earlier.tokenizer.get_vocab()
        else earlier.tokenizer.encode(
            tokenizer.convert_tokens_to_string([token]),
            add_special_tokens=False,
        )
        for token in tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    ]
    for name, value in weights.items():
        by_token = value.shape[0] == len(tokenizer) and value.ndim == 2
        value.copy_(
            torch.stack([old[name][p].mean(dim=0) for p in pieces])
            if by_token
            else old[name]
        )


def make_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of models built here: determined by the code alone."""
    rendering = PreTrainedTokenizerFast(
        tokenizer_object=build_tokenizer([]).backend_tokenizer,
        chat_template=CHAT_TEMPLATE,
    )
    texts = [
        rendering.apply_chat_template(
            practice_example(s).messages, tools=TOOL_STUBS, tokenize=False
        )
        for s in TOKENIZER_SEEDS
    ]
    return build_tokenizer(texts)


def save_base(run: Pretraining, folder: Path) -> Path:
    """The weights so far as a checkpoint of stage `base`."""
    config, earlier = run.config.model_dump(), run.before.get("lessons", [])
    changed = " ".join(
        f"--{k.replace('_', '-')} {v}"
        for k, v in config.items()
        if v != PretrainConfig.model_fields[k].default
    )
    lesson = {
        "command": f"python -m research.pretrain {changed}".strip(),
        "episodes": run.chunk * CHUNK,
        "tokens": run.tokens,
        "seconds": round(run.seconds),
        "config": config,
    }
    metadata = {
        "profile": run.config.profile,
        "stage": "base",
        "trained_on": "generated landscapes (autollm.agent.landscapes)",
        "experiments": [],
        "table_id": None,
        "parents": [
            *run.before.get("parents", []),
            *(
                [checkpoint_digest(run.config.start)]
                if run.config.start
                else []
            ),
        ],
        "parameters": n_parameters(run.model),
        "lessons": [*earlier, lesson],
    }
    save_checkpoint(Checkpoint(run.model, run.tokenizer, metadata), folder)
    return folder


@torch.no_grad()
def _validate(run: Pretraining, batches: list[Batch]) -> float:
    return float(np.mean([run.losses(b)[1].item() for b in batches]))


def _keep(run: Pretraining, path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(run.state(), temporary)
    os.replace(temporary, path)


def _log(out: Path, line: dict) -> None:
    path = out / "log.csv"
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if new:
            writer.writeheader()
        writer.writerow(
            {
                k: f"{v:.5g}" if isinstance(v, float) else v
                for k, v in line.items()
            }
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("var/pretrain"))
    for name, field in PretrainConfig.model_fields.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", default=field.default
        )
    arguments = vars(parser.parse_args())
    out = arguments.pop("out")
    print(pretrain(PretrainConfig.model_validate(arguments), out))


if __name__ == "__main__":
    main()
