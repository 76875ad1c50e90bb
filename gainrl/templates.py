"""Chat templates: rendering that fails in one line and comes to an end, and what templates lack, put right."""

import multiprocessing
import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gainrl.errors import InputError, one_line

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = dict[str, str]

PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{{ {'system': '', 'user': 'Question:\\n', 'assistant': 'Answer:\\n'}[message.role] }}{{ message.content }}\n\n"
    "{% endfor %}{% if add_generation_prompt %}Answer:\n{% endif %}"
)
"""For a tokenizer without a chat template, such as a base model's. The question follows a line break, because a space
could merge with its first word into one token."""

SYSTEM_FIRST = (
    "{% if messages[0].role == 'system' and messages | length > 1 %}{% set messages = [{'role': messages[1].role, "
    "'content': messages[0].content + '\\n\\n' + messages[1].content}] + messages[2:] %}{% endif %}"
)
"""In front of a template that knows no system message, such as Gemma's: its text and the first question are one message."""

SECONDS, BYTES = 5.0, 2**30
"""What a template may use when it is tried; one conversation takes milliseconds and a few kilobytes."""

_TRIAL: list[Message] = [
    {"role": "system", "content": "SYSTEM"},
    {"role": "user", "content": "EXAMPLE"},
    {"role": "assistant", "content": "ANSWER"},
    {"role": "user", "content": "QUESTION"},
]


def complete_template(tokenizer: "PreTrainedTokenizerBase") -> None:
    """Give a tokenizer the plain template if it has none, and its template a place for the system message if it has none.

    Each is said on stderr. The template is changed, and not the conversation, because TRL and lm-eval apply it too.

    Raises:
        InputError: the template fails, does not come to an end, or leaves the question out.
    """
    name = tokenizer.name_or_path
    if not tokenizer.chat_template:
        print(f"gainrl: the tokenizer of {name} has no chat template; a plain format is used", file=sys.stderr)
        tokenizer.chat_template = PLAIN_TEMPLATE
    text, failure = _try(tokenizer, _TRIAL)
    if failure is None and "SYSTEM" in text:
        return
    text, failure = _try(tokenizer, _TRIAL[1:])
    if failure is None and "QUESTION" not in text:
        failure = f"leaves the question out; it gives {text[:100]!r}"
    if failure is None:
        tokenizer.chat_template = SYSTEM_FIRST + tokenizer.get_chat_template()
        _, failure = _try(tokenizer, _TRIAL)
    if failure is not None:
        raise InputError(f"the chat template of {name} {failure}")
    print(
        f"gainrl: the chat template of {name} has no place for a system message; its text goes before the first question",
        file=sys.stderr,
    )


def render(tokenizer: "PreTrainedTokenizerBase", conversations: Sequence[Sequence[Message]]) -> list[str]:
    """The conversations as texts, up to where the model's turn begins. Raises InputError: the template fails."""
    try:
        texts: list[str] = tokenizer.apply_chat_template(
            [list(messages) for messages in conversations], tokenize=False, add_generation_prompt=True
        )
    except Exception as error:  # a template is a program, and fails as programs do
        raise InputError(f"the chat template of {tokenizer.name_or_path} fails: {one_line(error)}") from error
    return texts


def _try(tokenizer: "PreTrainedTokenizerBase", messages: list[Message]) -> tuple[str, str | None]:
    """The rendered conversation and None, or "" and what the template does instead.

    It is rendered in a process of its own: loops without an end hold a thread for good, and some of them all threads.
    """
    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_render_within, args=(sender, tokenizer, messages))
    child.start()
    sender.close()
    try:
        if not receiver.poll(SECONDS):
            return "", f"did not come to an end within {SECONDS:.0f} seconds"
        return receiver.recv()  # type: ignore[no-any-return]
    except EOFError:
        return "", "ended the process that tried it"
    finally:
        child.kill()
        child.join()


def _render_within(sender: Any, tokenizer: "PreTrainedTokenizerBase", messages: list[Message]) -> None:
    if (sizes := Path("/proc/self/statm")).exists():
        limit = int(sizes.read_text().split()[0]) * resource.getpagesize() + BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    outcome: tuple[str, str | None]
    try:
        outcome = render(tokenizer, [messages])[0], None
    except InputError as error:
        outcome = "", f"fails: {one_line(error.__cause__ or error)}"
    sender.send(outcome)
    sender.close()
    os._exit(0)
