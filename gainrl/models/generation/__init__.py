"""Writing completions: one interface to transformers, vLLM and a trainer's own model. Token ids in, token ids out.

Every backend gets exactly the tokens that the probe and the trainer see.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from gainrl.errors import InputError


class Completion(NamedTuple):
    """``ids`` end with the end token unless the completion was cut at its token limit."""

    ids: list[int]
    truncated: bool

    @property
    def text_ids(self) -> list[int]:
        """The ids without the end token."""
        return self.ids if self.truncated else self.ids[:-1]


class Backend(Protocol):
    """Writes one completion for each prompt, in order; temperature 0 is greedy. The same seed gives the same completions."""

    name: str
    context: int

    def __call__(
        self, prompts: Sequence[Sequence[int]], *, max_tokens: int, temperature: float, seed: int
    ) -> list[Completion]: ...


def end_tokens(model_config: Any, generation_config: Any, tokenizer: Any) -> list[int]:
    """Every token that ends a completion: the tokenizer's, the model's and its generation settings'.

    Raises InputError: there is none, or one is no token's number.
    """
    named = [tokenizer.eos_token_id]
    for config in (model_config, generation_config):
        value = getattr(config, "eos_token_id", None)
        named += value if isinstance(value, list) else [value]
    found = list(dict.fromkeys(token for token in named if token is not None))
    if not found or not all(isinstance(token, int) for token in found):
        raise InputError(
            f"the end tokens of tokenizer, model and generation settings are {found}; one number at least is needed "
            "(eos_token in tokenizer_config.json, or eos_token_id in generation_config.json)"
        )
    return found
