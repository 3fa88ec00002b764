"""Generation behind one interface: conversations in, the text of the next turn out.

`TransformersGenerator` runs the model here, `OpenAIGenerator` (server.py) asks a vLLM
server. Invariant: greedy generation is a function of weights and conversation alone,
whatever the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from autollm.agent.profiles import TrainConfig
from autollm.agent.tools import tool_schemas
from autollm.agent.transcript import END, Message

PAD_TO = 64


class Generator(Protocol):
    """Interface of everything that can write the assistant's next turn."""

    def generate(
        self, conversations: Sequence[list[Message]], seed: int = 0
    ) -> list[str]:
        """Text of the next turn of each conversation, without template marks.

        Raises:
            GenerationError: the back end failed.
        """
        ...


class TransformersGenerator:
    """The model in this process, in batches, padded on the left to multiples of PAD_TO
    tokens. Temperature 0 is greedy.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        temperature: float = 0.0,
        max_new_tokens: int = 96,
        batch_size: int = 64,
    ):
        self.model, self.tokenizer = model.eval(), tokenizer
        self.temperature, self.max_new_tokens, self.batch_size = (
            temperature,
            max_new_tokens,
            batch_size,
        )

    def generate(
        self, conversations: Sequence[list[Message]], seed: int = 0
    ) -> list[str]:
        texts: list[str] = []
        state = torch.random.get_rng_state()
        torch.manual_seed(seed)
        for begin in range(0, len(conversations), self.batch_size):
            texts += self._batch(conversations[begin : begin + self.batch_size])
        torch.random.set_rng_state(state)
        return texts

    @torch.inference_mode()
    def _batch(self, conversations: Sequence[list[Message]]) -> list[str]:
        prompts = [
            self.tokenizer.apply_chat_template(
                c,
                tools=list(tool_schemas()),
                add_generation_prompt=True,
                tokenize=False,
            )
            for c in conversations
        ]
        encoded = self.tokenizer(
            prompts,
            add_special_tokens=False,
            padding=True,
            padding_side="left",
            pad_to_multiple_of=PAD_TO,
            return_tensors="pt",
            return_token_type_ids=False,
        ).to(self.model.device)
        sampling = (
            {
                "do_sample": True,
                "temperature": self.temperature,
                "top_k": 0,
                "top_p": 1.0,
            }
            if self.temperature > 0
            else {
                "do_sample": False,
                "temperature": None,
                "top_k": None,
                "top_p": None,
            }
        )
        ids = self.model.generate(
            **encoded,
            **sampling,
            max_new_tokens=self.max_new_tokens,
            eos_token_id=self._stop(),
            pad_token_id=self.tokenizer.pad_token_id,
        )
        new = self.tokenizer.batch_decode(
            ids[:, encoded["input_ids"].shape[1] :], skip_special_tokens=False
        )
        return [
            text.split(END)[0].replace(self.tokenizer.pad_token or "", "")
            for text in new
        ]

    def _stop(self) -> list[int]:
        return sorted(
            {
                self.tokenizer.eos_token_id,
                self.tokenizer.convert_tokens_to_ids(END),
            }
            - {None}
        )


def make_generator(config: TrainConfig, checkpoint: str) -> Generator:
    """The generator that a configuration asks for; `checkpoint` is a folder
    (transformers) or only a name (server).
    """
    settings = config.generation
    if settings.backend == "openai":
        from autollm.agent.server import OpenAIGenerator

        return OpenAIGenerator(
            settings.server_url or "http://127.0.0.1:8000",
            settings.server_model,
            settings.temperature,
            settings.max_new_tokens,
            settings.timeout_s,
        )
    from autollm.agent.checkpoints import load_checkpoint
    from autollm.agent.devices import device_of, dtype_of

    loaded = load_checkpoint(checkpoint, dtype_of(config), device_of(config))
    return TransformersGenerator(
        loaded.model,
        loaded.tokenizer,
        settings.temperature,
        settings.max_new_tokens,
        settings.batch_size,
    )
