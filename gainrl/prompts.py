"""The one chat prompt (system message, worked example, question), and where its parts lie among the tokens.

The same messages are used in scoring, training and evaluation; their hash goes into scores files and run configs.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from gainrl.errors import InputError
from gainrl.files import read_text
from gainrl.templates import Message, render

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Ids = NDArray[np.int32]
_STAND_IN = "QUESTION"
_CHUNK = 256
"""Prompts rendered and tokenized at a time; the tokenizer's output is much larger than the ids that are kept."""


class Example(BaseModel):
    """One worked example: a question and the answer that the assistant gives."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    question: str
    answer: str


class Prompt(BaseModel):
    """What stands before every question. ``system`` and ``example`` can be left out with None."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    system: str | None = "Reason step by step and put the answer in \\boxed{}."
    example: Example | None = Example(question="What is 2 + 2?", answer="2 + 2 = 4 \\boxed{4}")

    def messages(self, question: str) -> list[Message]:
        """The conversation that asks this question; the model's turn comes next."""
        system = [{"role": "system", "content": self.system}] if self.system is not None else []
        example = (
            [
                {"role": "user", "content": self.example.question},
                {"role": "assistant", "content": self.example.answer},
            ]
            if self.example is not None
            else []
        )
        return [*system, *example, {"role": "user", "content": question}]

    @property
    def hash(self) -> str:
        """12 hex digits that change with any character of the prompt."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]

    @classmethod
    def from_file(cls, path: Path) -> "Prompt":
        """A prompt from a JSON file with ``system`` and ``example`` (``question``, ``answer``); each may be null."""
        try:
            return cls.model_validate_json(read_text(path))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"])) or "the file"
            raise InputError(f"prompt file {path}: {field}: {first['msg']}; valid: system, example") from error


PROGRAM_PROMPT = Prompt(
    system="Reason step by step and end with the whole program, fenced as Python.",
    example=Example(question="f(x): 2 more than x.", answer="```python\ndef f(x):\n    return x + 2\n```"),
)
"""What stands before a question that asks for a program, unless another prompt is given."""


@dataclass(frozen=True, eq=False)
class EncodedPrompt:
    """Token ids (T,) of one rendered prompt: prefix, question, then what the template adds before the model's turn."""

    ids: Ids
    prefix_tokens: int
    question_tokens: int

    @property
    def question_end(self) -> int:
        return self.prefix_tokens + self.question_tokens


class Question(Protocol):
    """What a prompt needs of a problem."""

    @property
    def problem_id(self) -> str: ...

    @property
    def question(self) -> str: ...


def encode_problems(
    tokenizer: "PreTrainedTokenizerBase", problems: Sequence[Question], prompt: Prompt
) -> list[EncodedPrompt]:
    """The prompts of problems as token ids with their spans. Raises InputError as `encode_prompts` does."""
    conversations = [prompt.messages(problem.question) for problem in problems]
    return encode_prompts(tokenizer, conversations, [problem.problem_id for problem in problems])


def encode_prompts(
    tokenizer: "PreTrainedTokenizerBase", conversations: Sequence[list[Message]], names: Sequence[str]
) -> list[EncodedPrompt]:
    """Render and tokenize conversations whose last message is the question, and find the spans among the tokens.

    Args:
        names: what to call each conversation in an error (problem ids).

    Raises:
        InputError: the tokenizer has no chat template, one that fails, or is a slow one; or (naming the prompt) the
            template rewrites the question, the question has no token of its own or contains a control token, or the
            prefix's tokens differ from the first prompt's.
    """
    if not tokenizer.chat_template:
        raise InputError(f"the tokenizer of {tokenizer.name_or_path!r} has no chat template")
    if not tokenizer.is_fast:
        raise InputError(
            f"the tokenizer of {tokenizer.name_or_path!r} is a slow one, which gives no token positions; a fast one is needed"
        )
    stand_in = [*conversations[0][:-1], {"role": "user", "content": _STAND_IN}]
    (frame,) = render(tokenizer, [stand_in])
    head, _, tail = frame.rpartition(_STAND_IN)
    control_tokens = _control_tokens(tokenizer)
    for message in conversations[0][:-1]:
        _require_text(tokenizer, message["content"], f"the prompt's {message['role']} message", control_tokens)

    prompts: list[EncodedPrompt] = []
    for first in range(0, len(conversations), _CHUNK):
        chunk = slice(first, first + _CHUNK)
        for prompt in _encode_chunk(tokenizer, conversations[chunk], names[chunk], head, tail):
            if prompts and not np.array_equal(_prefix(prompt), _prefix(prompts[0])):
                raise InputError(
                    f"prompt of {names[len(prompts)]}: the tokens of its prefix differ from those of {names[0]}"
                )
            if found := control_tokens.keys() & prompt.ids[prompt.prefix_tokens : prompt.question_end].tolist():
                raise _control_token(f"prompt of {names[len(prompts)]}: the question", control_tokens[min(found)])
            prompts.append(prompt)
    return prompts


def _control_tokens(tokenizer: "PreTrainedTokenizerBase") -> dict[int, str]:
    """Token id -> token of those that open and close turns, or pad; not the one that stands for unknown words."""
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    special |= set(tokenizer.all_special_ids)
    return {number: tokenizer.convert_ids_to_tokens(number) for number in special - {tokenizer.unk_token_id}}


def _require_text(tokenizer: "PreTrainedTokenizerBase", text: str, what: str, control_tokens: dict[int, str]) -> None:
    if found := control_tokens.keys() & set(tokenizer(text, add_special_tokens=False)["input_ids"]):
        raise _control_token(what, control_tokens[min(found)])


def _control_token(what: str, token: str) -> InputError:
    return InputError(
        f"{what} contains the model's control token {token!r}, which would not be read as text; reword it or leave it out"
    )


def _encode_chunk(
    tokenizer: "PreTrainedTokenizerBase",
    conversations: Sequence[list[Message]],
    names: Sequence[str],
    head: str,
    tail: str,
) -> Iterator[EncodedPrompt]:
    for name, messages in zip(names, conversations, strict=True):
        if any("\ud800" <= character <= "\udfff" for character in messages[-1]["content"]):
            raise InputError(f"prompt of {name}: the question holds half of a surrogate pair, which is no character")
    texts = render(tokenizer, conversations)
    encoding = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
    for name, messages, text, ids, offsets in zip(
        names, conversations, texts, encoding["input_ids"], encoding["offset_mapping"], strict=True
    ):
        question = messages[-1]["content"]
        if text != head + question + tail:
            raise InputError(
                f"prompt of {name}: the template must give the shared prefix, the question unchanged, the same ending"
            )
        begin, end = len(head), len(head) + len(question)
        if any(first < begin < last for first, last in offsets):
            raise InputError(f"prompt of {name}: one token spans the end of the prefix and the start of the question")
        prefix_tokens = sum(first < begin for first, _ in offsets)
        question_tokens = sum(begin <= first < end for first, _ in offsets)
        if not question_tokens:
            raise InputError(f"prompt of {name}: the question has no token")
        yield EncodedPrompt(np.array(ids, dtype=np.int32), prefix_tokens, question_tokens)


def _prefix(prompt: EncodedPrompt) -> Ids:
    return prompt.ids[: prompt.prefix_tokens]


def too_long(prompts: Sequence[EncodedPrompt], context: int, completion_tokens: int = 0) -> list[int]:
    """Rows of the prompts that, with a completion, exceed the model's context (tokens)."""
    return [row for row, prompt in enumerate(prompts) if len(prompt.ids) > context - completion_tokens]


def length_batches(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Batches of rows, longest first: as many as fit into ``batch_tokens`` when padded to the longest (at least one).

    This keeps padding small, and a batch that does not fit into memory comes first.
    """
    rows = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    while rows:
        size = max(1, batch_tokens // lengths[rows[0]])
        yield rows[:size]
        rows = rows[size:]


def segments(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message]) -> list[tuple[str, int, int]]:
    """(name, first token, token after the last) of the messages' contents: system, example, answer, question.

    The text that the template adds around them belongs to no segment.
    """
    (text,) = render(tokenizer, [messages])
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    names = {"system": "system", "user": "example", "assistant": "answer"}
    labelled = [(names[message["role"]], message["content"]) for message in messages[:-1]]
    spans, position = [], 0
    for name, content in [*labelled, ("question", messages[-1]["content"])]:
        begin = text.index(content, position)
        position = begin + len(content)
        tokens = [token for token, (first, last) in enumerate(offsets) if first < position and last > begin]
        spans.append((name, tokens[0], tokens[-1] + 1))
    return spans


def require_fit(
    prompts: Sequence[EncodedPrompt], names: Sequence[str], context: int, completion_tokens: int = 0
) -> None:
    """Raise InputError, naming the longest, if a prompt and its completion do not fit the model's context (tokens)."""
    if rows := too_long(prompts, context, completion_tokens):
        longest = max(rows, key=lambda row: len(prompts[row].ids))
        reserved = f", with {completion_tokens} reserved for the completion" if completion_tokens else ""
        raise InputError(
            f"prompt of {names[longest]} has {len(prompts[longest].ids)} tokens; the model's context has room for "
            f"{context - completion_tokens}{reserved} ({len(rows)} of {len(prompts)} prompts are too long)"
        )


def load_prompt(path: str | None, otherwise: Prompt) -> Prompt:
    """The prompt in a file; ``otherwise`` for None."""
    return otherwise if path is None else Prompt.from_file(Path(path))
