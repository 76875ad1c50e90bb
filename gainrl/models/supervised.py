"""Supervised training of small models on the CPU, by TRL's SFTTrainer."""

import tempfile
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from transformers.trainer_callback import PrinterCallback

from gainrl.progress import Progress


def supervise(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    rows: list[dict[str, Any]],
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    ramp_steps: int,
    longest: int,
    seed: int,
    completion_only: bool = True,
    progress: Progress | None = None,
) -> None:
    """Train ``model`` in place on completions of prompts, the learning rate ramped up and then decayed linearly.

    Args:
        rows: ``prompt`` and ``completion``, each a conversation.
        longest: tokens after which a sequence is cut.
        completion_only: whether the loss leaves the prompts' tokens out.
    """
    import datasets  # both slow to import, and scoring an existing model needs neither
    from trl import SFTConfig, SFTTrainer

    with tempfile.TemporaryDirectory() as unused:
        arguments = SFTConfig(
            output_dir=unused,
            max_steps=steps,
            per_device_train_batch_size=batch_size,
            learning_rate=learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=ramp_steps,
            max_length=longest,
            completion_only_loss=completion_only,
            seed=seed,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            save_strategy="no",
            report_to="none",
            logging_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
            dataset_kwargs={"skip_prepare_dataset": True},  # TRL's own tokenizes row by row, for minutes
        )
        dataset = datasets.Dataset.from_dict(_tokenized(tokenizer, rows, longest, completion_only))
        trainer = SFTTrainer(model=model, args=arguments, train_dataset=dataset, processing_class=tokenizer)
        trainer.remove_callback(PrinterCallback)
        if progress is not None:
            trainer.add_callback(_ReportSteps(progress))
        trainer.train()
    model.eval()


def _tokenized(
    tokenizer: PreTrainedTokenizerBase, rows: list[dict[str, Any]], longest: int, completion_only: bool
) -> dict[str, list[list[int]]]:
    """``input_ids`` and ``labels`` of all rows, cut at ``longest``; rows without a token that counts are left out."""
    prompts, wholes = (
        tokenizer.apply_chat_template(conversations, add_generation_prompt=ends, return_dict=True)["input_ids"]
        for conversations, ends in (
            ([row["prompt"] for row in rows], True),
            ([row["prompt"] + row["completion"] for row in rows], False),
        )
    )
    masked = [len(prompt) if completion_only else 0 for prompt in prompts]
    pairs = [
        (ids[:longest], [-100] * min(hidden, longest) + ids[hidden:longest])
        for ids, hidden in zip(wholes, masked, strict=True)
        if min(len(ids), longest) > hidden
    ]
    return {"input_ids": [ids for ids, _ in pairs], "labels": [labels for _, labels in pairs]}


class _ReportSteps(TrainerCallback):
    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_step_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        self.progress(state.global_step, state.max_steps)
