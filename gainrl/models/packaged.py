"""Models whose weights a package carries: a quantized file becomes a folder of 32-bit weights, once.

Reading the file takes half a minute, loading the folder one second.
"""

import hashlib
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from gainrl.errors import InputError
from gainrl.files import made_once
from gainrl.models import Packaged


def unpack(name: str, packaged: Packaged, cache: Path) -> Path:
    """The folder of the model with its tokenizer, from the cache if it is there and whole.

    Raises InputError: the package is not installed, or its file is not the one whose checksum is known.
    """
    return made_once(cache / f"{name}-{packaged.sha256[:12]}", lambda folder: _write(name, packaged, folder))


def _write(name: str, packaged: Packaged, folder: Path) -> None:
    file = _weights_file(name, packaged)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    quantized = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    _as_plain_model(quantized).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _weights_file(name: str, packaged: Packaged) -> Path:
    found = find_spec(packaged.module)
    if found is None or found.origin is None or find_spec("gguf") is None:
        raise InputError(f"model {name} is not installed; make small installs it (93 MB)")
    file = Path(found.origin).with_name(packaged.file)
    try:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"model {name}: {file}: {error.strerror}; make small installs it") from error
    if digest != packaged.sha256:
        raise InputError(
            f"model {name}: {file} has the SHA-256 {digest[:12]}..., not {packaged.sha256[:12]}...; "
            "install the package again, in the version of requirements-small.lock"
        )
    return file


def _as_plain_model(quantized: PreTrainedModel) -> PreTrainedModel:
    """The same weights in a model that can be saved: what was loaded from GGUF refuses to be."""
    config = type(quantized.config).from_dict(
        {key: value for key, value in quantized.config.to_dict().items() if key != "quantization_config"}
    )
    model: PreTrainedModel = type(quantized)(config)
    model.load_state_dict(quantized.state_dict())
    model.generation_config = quantized.generation_config
    return model
