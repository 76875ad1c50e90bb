"""TRL's GRPOTrainer and RLOOTrainer, drawing their groups from a schedule. Nothing else about training changes."""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOTrainer, RLOOTrainer
from trl.trainer.utils import RepeatSampler

from gainrl.angle import angle_concentration
from gainrl.errors import InputError, one_line
from gainrl.models.generation.hf import HfBackend
from gainrl.problems import ProblemSet
from gainrl.prompts import EncodedPrompt, Prompt, encode_prompts
from gainrl.runs.config import SignalConfig
from gainrl.schedules import Ints, Schedule
from gainrl.schedules.epoch import Epoch, EpochTally
from gainrl.scoring import capture, span_masks
from gainrl.scoring.hooks import probed_module
from gainrl.training.checkpoints import keep
from gainrl.training.measuring import measured_pass_rates
from gainrl.training.oversampling import Sampled, require_groups, sample_groups
from gainrl.training.shared_prompts import prompts_once, require_shareable

ROW = "schedule_row"
SCHEDULE_FILE = "schedule.json"
Trainer: Any = GRPOTrainer if TYPE_CHECKING else object


class ScheduleSampler(RepeatSampler):
    """RepeatSampler over the rows of one draw; draws when an epoch begins, so that nothing runs ahead of the schedule."""

    def __init__(self, trainer: "Scheduled", **repeats: int) -> None:
        super().__init__(data_source=range(trainer.prompts_per_epoch), shuffle=False, **repeats)
        self.trainer = trainer

    def __iter__(self) -> Iterator[int]:
        rows_n = self.trainer.begin_epoch()
        return (int(rows_n[position]) for position in super().__iter__())


class Scheduled(Trainer):
    """What a schedule adds to TRL's trainers: an epoch is one draw of ``prompts_per_epoch`` problems.

    The schedule's rows are rows of ``train_dataset``. At the end of an epoch it observes the mean accuracy and, if it
    wants it, the mean angle concentration, which a hook reads in the forward pass of the loss; both take effect at the
    next draw. Its metrics are logged as ``schedule/...``. Checkpoints hold the schedule and the epoch's outcomes beside
    what TRL saves, so that ``train(resume_from_checkpoint=...)`` continues as if there had been no interruption.

    Args:
        schedule: built for as many problems as the dataset has rows.
        prompts_per_epoch: size of a draw (the paper's n); a multiple of the prompts of one generation batch.
        accuracy: name of the reward function whose value is the correctness in [0, 1]; by default the first.
        signal: where and how the angle is read; must be the one that the order was scored with.
        share_prompts: compute what completions share once: in the loss each prompt for all of its completions, there and in
            sampling by transformers the tokens that all prompts begin with. Same results up to rounding.

    Raises:
        InputError: sizes do not fit, the accuracy function is unknown, or the schedule wants the angle and the prompts
            are not conversations that end in the question.
    """

    train_dataset: Any
    prompts_per_epoch: int

    def __init__(
        self,
        *args: Any,
        schedule: Schedule,
        prompts_per_epoch: int,
        accuracy: str | None = None,
        signal: SignalConfig | None = None,
        share_prompts: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if not isinstance(self.train_dataset, Dataset):
            raise InputError("a schedule draws rows, so the training set must be a Dataset, not an iterable one")
        if schedule.size != len(self.train_dataset):
            raise InputError(f"the schedule has {schedule.size} problems, the training set {len(self.train_dataset)}")
        prompts_per_batch = self.args.generation_batch_size // self.num_generations
        if prompts_per_epoch % prompts_per_batch or not 0 < prompts_per_epoch <= schedule.size:
            raise InputError(
                f"prompts_per_epoch is {prompts_per_epoch}; it must be a multiple of {prompts_per_batch} (the prompts of "
                f"one generation batch) and at most {schedule.size} (the training set)"
            )
        accuracy = accuracy or self.reward_func_names[0]
        if accuracy not in self.reward_func_names:
            raise InputError(f"no reward function {accuracy!r}; available: {', '.join(self.reward_func_names)}")

        self.schedule, self.prompts_per_epoch, self.signal = schedule, prompts_per_epoch, signal or SignalConfig()
        if schedule.wants_angle and self.signal.definition == "released":
            raise InputError(
                "definition 'released' orders problems only; during training use 'paper' or 'off-diagonal' "
                "(order='released' uses it for the order alone)"
            )
        if schedule.wants_angle:
            probed_module(self.model, self.signal)
        self.share_prompts = share_prompts
        if share_prompts:
            require_shareable(self.model, checkpointing=self.args.gradient_checkpointing)
        self.accuracy_column = self.reward_func_names.index(accuracy)
        self.spans: list[EncodedPrompt] | None = self._encode_train_prompts() if schedule.wants_angle else None
        self.train_dataset = self.train_dataset.add_column(ROW, np.arange(len(self.train_dataset)))
        self.epochs: list[Epoch] = []
        self.tally = EpochTally()
        self.sampled: Sampled | None = None
        """The generation batch that passes through TRL's code, if it was sampled beforehand."""
        if schedule.redraws:
            require_groups(self)
        self.add_callback(_EpochEnd(self))

    def _encode_train_prompts(self) -> list[EncodedPrompt]:
        conversations = self.train_dataset["prompt"]
        if isinstance(conversations[0], str):
            raise InputError(
                "the schedule wants the angle, so prompts must be conversations whose last message is the question"
            )
        names = [f"row {row}" for row in range(len(conversations))]
        return encode_prompts(self.processing_class, list(conversations), names)

    def _get_train_sampler(self, dataset: Dataset | None = None) -> ScheduleSampler:
        return ScheduleSampler(
            self,
            mini_repeat_count=self.num_generations,
            batch_size=self.args.generation_batch_size // self.num_generations,
            repeat_count=self.num_iterations * self.args.steps_per_generation,
        )

    def begin_epoch(self) -> Ints:
        """Draw the rows of the next epoch; an interrupted epoch keeps its rows."""
        if self.tally.resumed:
            self.tally.resumed = False
        else:
            with self.choosing():
                if self.schedule.measures:
                    self.schedule.measured(measured_pass_rates(self))
                self.tally.begin(self.schedule.draw(self.prompts_per_epoch))
        return self.tally.drawn_n

    def end_epoch(self) -> None:
        """Let the schedule observe the epoch, and keep it in ``epochs``."""
        if not self.tally.correct:
            return
        epoch = self.tally.finished(self.schedule.ranks(self.tally.drawn_n))
        accuracy = epoch.feedback.accuracy
        if not 0 <= accuracy <= 1:
            name = self.reward_func_names[self.accuracy_column]
            raise InputError(
                f"mean accuracy is {accuracy}, not in [0, 1]: {name!r} is shaped; name another one with accuracy="
            )
        self.epochs.append(epoch)
        self.tally.end()
        with self.choosing():
            self.schedule.observe(epoch.feedback)

    @contextmanager
    def choosing(self) -> Iterator[None]:
        """Count the time towards what choosing problems costs."""
        began = time.perf_counter()
        yield
        self.tally.choosing_seconds += time.perf_counter() - began

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> torch.Tensor:
        if self.sampled is not None:
            rewards, self.sampled = self.sampled.rewards, None
            self._tally(inputs, completion_ids_list, rewards)
            return rewards
        rewards = self.reward_plainly(inputs, prompts, completions, completion_ids_list)
        if self.model.training:
            gathered = self._tally(inputs, completion_ids_list, rewards)
            self.tally.count(
                problems=len(gathered) // self.num_generations,
                rollouts=len(gathered),
                tokens=sum(tokens for _, tokens in gathered),
            )
        return rewards

    def _tally(self, inputs: Any, completion_ids_list: Any, rewards: torch.Tensor) -> list[tuple[int, int]]:
        """Note how the rollouts to train went; (row, tokens) of each, of all processes."""
        local = [[example[ROW], len(ids)] for example, ids in zip(inputs, completion_ids_list, strict=True)]
        gathered = self.accelerator.gather(torch.tensor(local, device=self.accelerator.device)).tolist()
        correct = rewards[:, self.accuracy_column].tolist()
        for (row, tokens), value in zip(gathered, correct, strict=True):
            self.tally.add(row, value, tokens)
        self._metrics["train"]["accuracy"].append(float(np.nanmean(correct)))
        return [(row, tokens) for row, tokens in gathered]

    def reward_plainly(self, *arguments: Any) -> torch.Tensor:
        """TRL's rewards, without a note of them."""
        rewards: torch.Tensor = super()._calculate_rewards(*arguments)
        return rewards

    def generate_plainly(self, prompts: list[Any]) -> tuple[Any, ...]:
        """What TRL's ``_generate`` returns, newly sampled."""
        generated: tuple[Any, ...] = super()._generate(prompts)
        return generated

    def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
        return self.generate_plainly(prompts) if self.sampled is None else self.sampled.generated

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        if self.schedule.redraws and self.model.training:
            inputs, self.sampled = sample_groups(self, inputs, ROW)
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self.spans is not None and self.model.training:
            output[ROW] = torch.tensor([example[ROW] for example in inputs], device=self.accelerator.device)
        return output

    def _generate_single_turn(self, prompt_ids: list[list[int]], *settings: Any) -> Any:
        if not self.share_prompts or self.use_vllm:
            return super()._generate_single_turn(prompt_ids, *settings)
        model, pad = self.accelerator.unwrap_model(self.model), self.processing_class.pad_token_id
        with self.accelerator.autocast():
            completions = HfBackend(model, self.eos_token_ids, pad).complete(prompt_ids, self.generation_config)
        ids = [completion.ids for completion in completions]
        return (ids, None) if isinstance(self, GRPOTrainer) else ids  # RLOO keeps no log-probabilities of the sampler

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        reading = self.spans is not None and self.model.training
        plain_model, prompt_tokens = self.accelerator.unwrap_model(model), inputs["prompt_ids"].shape[1]
        with ExitStack() as stack:
            captured = stack.enter_context(capture(plain_model, self.signal)) if reading else []
            forwards = stack.enter_context(prompts_once(plain_model, prompt_tokens)) if self.share_prompts else []
            loss: torch.Tensor = super()._compute_loss(model, inputs)
        if reading and self.share_prompts:
            states = iter(captured)
            captured = [passes.prompts(list(islice(states, passes.number))) for passes in forwards]
        if reading:
            self._read_angles(torch.cat([states[:, :prompt_tokens] for states in captured]), inputs)
        return loss

    @torch.no_grad()
    def _read_angles(self, hidden_BTD: torch.Tensor, inputs: dict[str, Any]) -> None:
        assert self.spans is not None
        spans = [self.spans[row] for row in inputs[ROW].tolist()]
        starts_B = inputs["prompt_mask"].shape[1] - inputs["prompt_mask"].sum(1)
        prefix_BT, question_BT = span_masks(spans, hidden_BTD, starts_B)
        angle_B = angle_concentration(hidden_BTD, prefix_BT, question_BT, self.signal.definition).angle
        rows, angles = self.accelerator.gather((inputs[ROW], angle_B))
        for row, angle in zip(rows.tolist(), angles.tolist(), strict=True):
            self.tally.angles[row].append(angle)
        self._metrics["train"]["angle"].append(angles.mean().item())

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if self.model.training:
            schedule = {f"schedule/{name}": value for name, value in self.schedule.metrics().items()}
            sampled = {
                "problems_seen": self.tally.problems,
                "rollouts": self.tally.rollouts,
                "completion_tokens": self.tally.completion_tokens,
                "choosing_seconds": self.tally.choosing_seconds,
            }
            logs |= {**sampled, **schedule}
        super().log(logs, start_time)

    @property
    def between_generations(self) -> bool:
        """Whether the next step begins with new completions, so that a checkpoint taken now can be resumed from."""
        every = self.args.steps_per_generation * self.num_iterations // self.args.gradient_accumulation_steps
        return bool(self.state.global_step % every == 0)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write the checkpoint in a folder beside, then rename it, so that it is whole or absent. The last two are kept.

        Raises InputError: it cannot be written (a full disk).
        """
        folder, name = Path(self.args.output_dir), f"checkpoint-{self.state.global_step}"
        unfinished = folder / "unfinished"
        self.args.output_dir = str(unfinished)
        try:
            super()._save_checkpoint(model, trial)
            if self.args.should_save:
                state = {"schedule": self.schedule.state_dict(), "epoch": self.tally.state_dict()}
                (unfinished / name / SCHEDULE_FILE).write_text(json.dumps(state, default=np.ndarray.tolist))
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                keep(unfinished / name, folder)
        except Exception as error:
            free = shutil.disk_usage(folder).free // 2**20
            raise InputError(
                f"{name} cannot be written into {folder}, which has {free:,} MiB free: {one_line(error)}; "
                "the same command resumes from the one before"
            ) from error
        finally:
            self.args.output_dir = str(folder)
        self.accelerator.wait_for_everyone()

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        if not self.between_generations:
            raise InputError(f"{checkpoint} was taken between the steps of one generation; take an earlier one")
        state = json.loads((Path(checkpoint) / SCHEDULE_FILE).read_text())
        self.schedule.load_state_dict(state["schedule"])
        self.tally.load_state_dict(state["epoch"])
        self._step = self.state.global_step * self.args.gradient_accumulation_steps
        if (
            len(self.tally.correct) == self.prompts_per_epoch
        ):  # saved at the epoch's end, before the schedule observed it
            self.end_epoch()
        else:
            self.tally.resumed = len(self.tally.correct) > 0


class ScheduledGRPOTrainer(Scheduled, GRPOTrainer):
    """`GRPOTrainer` plus ``schedule=`` and ``prompts_per_epoch=``; see `Scheduled`."""


class ScheduledRLOOTrainer(Scheduled, RLOOTrainer):
    """`RLOOTrainer` plus ``schedule=`` and ``prompts_per_epoch=``; see `Scheduled`."""


def training_dataset(problems: ProblemSet, prompt: Prompt | None = None) -> Dataset:
    """TRL's training set, one row per problem in the set's order: prompt (a conversation), answer, problem_id."""
    prompt = prompt or problems.prompt
    return Dataset.from_list(
        [
            {"prompt": prompt.messages(problem.question), "answer": problem.answer, "problem_id": problem.problem_id}
            for problem in problems.problems
        ]
    )


class _EpochEnd(TrainerCallback):
    def __init__(self, trainer: Scheduled) -> None:
        self.trainer = trainer

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.end_epoch()
