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
        )
        trainer = SFTTrainer(
            model=model, args=arguments, train_dataset=datasets.Dataset.from_list(rows), processing_class=tokenizer
        )
        trainer.remove_callback(PrinterCallback)
        if progress is not None:
            trainer.add_callback(_ReportSteps(progress))
        trainer.train()
    model.eval()


class _ReportSteps(TrainerCallback):
    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_step_end(self, args, state, control, **kwargs):  # type: ignore[no-untyped-def]
        self.progress(state.global_step, state.max_steps)
