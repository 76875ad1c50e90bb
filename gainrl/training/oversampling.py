"""Over-sampling: more groups are sampled than are trained, because the schedule turns some of them down.

A generation batch of TRL's holds as many problems as its steps train. For a schedule with ``redraws`` its problems are only
the first candidates: they are sampled here (or first a few rollouts of each: ``screening``), the schedule keeps some, and
others are drawn for the rest. The finished groups then pass through TRL's own code, which finds them sampled and rewarded.
Everything that was sampled is counted; the groups that were turned down go into the feedback as ``discarded``.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from gainrl.errors import InputError
from gainrl.schedules import Ints, Outcome
from gainrl.schedules.epoch import outcome_of

IDS = 1
"""Place of the completions' tokens in what TRL's ``_generate`` returns."""
COMPLETIONS = {8: 3, 3: 2}
"""Place of the completions, by how many values it returns: GRPOTrainer's, RLOOTrainer's."""


@dataclass
class Group:
    """The rollouts of one problem so far: what ``_generate`` returns of each, and its row of rewards."""

    row: int
    rollouts: list[tuple[Any, ...]] = field(default_factory=list)
    rewards: list[torch.Tensor] = field(default_factory=list)

    def outcome(self, accuracy_column: int) -> Outcome:
        correct = [float(reward[accuracy_column]) for reward in self.rewards]
        return outcome_of(correct, sum(len(rollout[IDS]) for rollout in self.rollouts))


@dataclass(frozen=True)
class Sampled:
    """A generation batch that was sampled beforehand."""

    generated: tuple[Any, ...]
    rewards: torch.Tensor


def require_groups(trainer: Any) -> None:
    """Raises InputError: the trainer's sampling cannot be taken apart into groups, or they are too small to be screened."""
    screening = trainer.schedule.screening
    if screening is not None and screening >= trainer.num_generations:
        raise InputError(
            f"screening is {screening}; it must be less than the {trainer.num_generations} rollouts of a group"
        )
    if trainer.accelerator.num_processes > 1:
        raise InputError("a schedule that throws groups away trains in one process; several are not supported")
    if getattr(trainer, "tools", None) or getattr(trainer, "rollout_func", None):
        raise InputError("a schedule that throws groups away cannot be used with tools or a rollout function")


def sample_groups(
    trainer: Any, inputs: Sequence[dict[str, Any]], row_column: str
) -> tuple[list[dict[str, Any]], Sampled]:
    """The inputs of the groups to train, as many as ``inputs`` holds, with their rollouts.

    Where the schedule's ``redraws`` do not suffice, groups that it turned down are trained after all.
    """
    schedule, tally, size = trainer.schedule, trainer.tally, trainer.num_generations
    first = [example[row_column] for example in inputs[::size]]
    examples = {example[row_column]: example for example in inputs}
    kept: list[Group] = []
    refused: list[Group] = []
    rows: Ints = np.array(first, dtype=np.int64)
    for attempt in range(schedule.redraws + 1):
        if attempt:
            with trainer.choosing():
                taken = np.concatenate([tally.drawn_n, list(tally.discarded), [group.row for group in kept + refused]])
                rows = schedule.redraw(len(first) - len(kept), taken.astype(np.int64))
            examples |= {int(row): trainer.train_dataset[int(row)] for row in rows}
        groups = [Group(int(row)) for row in rows]
        tally.problems += len(groups)
        _sample(trainer, groups, examples, schedule.screening or size)
        for group in groups:
            (kept if schedule.keeps(group.outcome(trainer.accuracy_column)) else refused).append(group)
        if len(kept) == len(first):
            break
    missing = len(first) - len(kept)
    kept, refused = kept + refused[:missing], refused[missing:]
    _sample(
        trainer, [group for group in kept if len(group.rollouts) < size], examples, size - (schedule.screening or 0)
    )
    tally.discarded |= {group.row: group.outcome(trainer.accuracy_column) for group in refused}

    ordered = _in_place(first, {group.row: group for group in kept}, tally)
    rollouts = [rollout for group in ordered for rollout in group.rollouts]
    generated = tuple(_joined(values) for values in zip(*rollouts, strict=True))
    rewards = torch.stack([reward for group in ordered for reward in group.rewards])
    return [examples[group.row] for group in ordered for _ in range(size)], Sampled(generated, rewards)


def _in_place(first: Sequence[int], groups: dict[int, Group], tally: Any) -> list[Group]:
    """The groups in the order of the draw; the new ones stand where those were that are not trained."""
    new = iter([row for row in groups if row not in first])
    rows = [row if row in groups else next(new) for row in first]
    for old, other in zip(first, rows, strict=True):
        if old != other:
            tally.replace(old, other)
    return [groups[row] for row in rows]


def _sample(trainer: Any, groups: Sequence[Group], examples: dict[int, dict[str, Any]], times: int) -> None:
    """Add ``times`` rollouts with their rewards to each group."""
    if not groups:
        return
    inputs = [examples[group.row] for group in groups for _ in range(times)]
    prompts = [example["prompt"] for example in inputs]
    with _group_size(trainer, times):  # vLLM is asked for so many completions of each prompt
        generated = trainer.generate_plainly(prompts)
    completions, ids = generated[COMPLETIONS[len(generated)]], generated[IDS]
    rewards = trainer.reward_plainly(inputs, prompts, completions, ids)
    trainer.tally.count(rollouts=len(ids), tokens=sum(map(len, ids)))
    for index in range(len(inputs)):
        group = groups[index // times]
        group.rollouts.append(tuple(_value(values, index, len(inputs)) for values in generated))
        group.rewards.append(rewards[index])


@contextmanager
def _group_size(trainer: Any, size: int) -> Iterator[None]:
    before, trainer.num_generations = trainer.num_generations, size
    try:
        yield
    finally:
        trainer.num_generations = before


@dataclass(frozen=True)
class _OfAll:
    """A value that belongs to no single rollout."""

    value: Any


def _value(values: Any, index: int, rollouts: int) -> Any:
    return values[index] if isinstance(values, list) and len(values) == rollouts else _OfAll(values)


def _joined(values: tuple[Any, ...]) -> Any:
    return values[0].value if isinstance(values[0], _OfAll) else list(values)
