"""Models as the commands' options name them."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gainrl.cli.shared import runs_folder
from gainrl.errors import InputError

if TYPE_CHECKING:
    import torch

    from gainrl.models.loading import LoadedModel
    from gainrl.records import Report

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


def resolve(device: str, dtype: str) -> tuple[str, "torch.dtype"]:
    """Where to run and in what, auto resolved."""
    import torch

    target = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if target.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"--device is {device}, but torch sees no CUDA device; valid here: cpu")
    chosen = ("bfloat16" if target.startswith("cuda") else "float32") if dtype == "auto" else dtype
    return target, getattr(torch, chosen)


def load_on_device(
    name: str, device: str, dtype: str, seed: int, runs_dir: Path | None, report: "Report"
) -> "LoadedModel":
    """The model where and as it was asked for."""
    from gainrl.models.loading import load_model

    target, torch_dtype = resolve(device, dtype)
    loaded = load_model(
        name,
        cache=runs_folder(runs_dir) / "shared" / "models",
        seed=seed,
        dtype=torch_dtype,
        progress=lambda done, of: report("warm-up", done, of),
    )
    loaded.model.to(target)
    return loaded
