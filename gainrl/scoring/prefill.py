"""The pass over a problem set: the prefix runs once and its keys and values are reused; no layer after the site runs."""

import copy
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from gainrl.angle import concentration, released_concentration, unit_mean
from gainrl.errors import InputError
from gainrl.models.loading import context_length, weights_hash
from gainrl.problems import ProblemSet
from gainrl.progress import Progress
from gainrl.prompts import EncodedPrompt, Ids, Prompt, encode_problems, length_batches, require_fit, too_long
from gainrl.runs.config import SignalConfig, Site
from gainrl.schedules import Floats
from gainrl.scoring.hooks import Probe, decoder_layers, hidden_states, layer_number, probed_module
from gainrl.scoring.scores import PartialScores, Scores, signal_metadata

BATCH_TOKENS = {"cpu": 1024, "cuda": 16_384}
"""By device. On a CPU larger batches do not fit into its caches (measured: `speed.scoring`); on a GPU they keep it busy."""


def score_problems(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: ProblemSet,
    prompt: Prompt | None = None,
    *,
    signal: SignalConfig | None = None,
    layers: Sequence[int] | Literal["all"] | None = None,
    sites: Sequence[Site] | None = None,
    model_version: str | None = None,
    batch_tokens: int | None = None,
    skip_too_long: bool = False,
    unfinished: Path | None = None,
    replaces: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Scores:
    """Angle concentration of every problem, from one prefill of each prompt up to the probed site.

    Args:
        layers: score these layers instead of ``signal.layer``, in one pass; the table then has a column ``layer``.
        sites: score at these sites instead of ``signal.site``, in the same pass; the table then has a column ``site`` too.
            Of ``layers``, ``final_norm`` has the last alone.
        model_version: what to call the weights in the metadata; by default a hash of them.
        batch_tokens: most tokens of a batch, padding included; the default depends on the device. Does not change
            the scores (beyond 1e-5 in fp32).
        skip_too_long: leave out prompts that do not fit the model's context, instead of raising.
        unfinished: file that keeps finished batches, so that an interrupted scoring resumes; removed at the end.
        replaces: metadata of the scores that these will replace, which must be the same.
        progress: called with (finished problems, all problems).

    Raises:
        InputError: a prompt cannot be encoded or is longer than the context, the model has no such probe site or layer,
            the unfinished file or the replaced scores have other settings, or hidden states are not finite (names problem
            and layer).
    """
    prompt, signal = prompt or problems.prompt, signal or SignalConfig()
    encoded = encode_problems(tokenizer, problems.problems, prompt)
    context = context_length(model.config)
    if skip_too_long and (skipped := set(too_long(encoded, context))):
        problems = problems.without(skipped)
        encoded = [encoding for row, encoding in enumerate(encoded) if row not in skipped]
    require_fit(encoded, problems.ids, context)
    _require_scorable(model, encoded, problems, signal)

    chosen = [signal.layer] if layers is None else _distinct(layers, model)
    probes = _probes(model, chosen, [signal.site] if sites is None else sites)
    metadata = signal_metadata(model_version or weights_hash(model), str(model.dtype), problems, prompt, signal)
    metadata |= {"layer": ", ".join(map(str, chosen))} | ({} if sites is None else {"site": ", ".join(sites)})
    if replaces is not None and (differing := [key for key in metadata if replaces.get(key) != metadata[key]]):
        raise InputError(
            f"the scores that are there already have other settings ({', '.join(differing)} differ); "
            "remove them, or choose another --out"
        )
    scored = PartialScores(unfinished, metadata, (len(problems), len(probes)))
    lengths = [len(encoding.ids) - encoding.prefix_tokens for encoding in encoded]
    batches = length_batches(lengths, batch_tokens or batch_tokens_of(model))
    with evaluating(model):
        scorer = _Scorer(model, signal, probes, encoded[0])
        _score_batches(scorer, batches, encoded, problems.ids, scored, progress)
    table = _table(problems, encoded, scored)
    places = {"site": sites and [site for site, _ in probes], "layer": layers and [layer for _, layer in probes]}
    for name, values in places.items():
        if values:
            table.insert(list(table).index("c_intra"), name, np.tile(np.array(values), len(problems)))
    scored.remove()
    return Scores(table, {**metadata, "version": version("gainrl")})


def _score_batches(
    scorer: "_Scorer",
    batches: Iterable[list[int]],
    encoded: Sequence[EncodedPrompt],
    names: Sequence[str],
    scored: PartialScores,
    progress: Progress | None,
) -> None:
    """Score the rows of each batch that are missing in ``scored``; halve all remaining batches when memory runs out."""
    waiting = deque(batches)
    while waiting:
        rows = scored.missing(waiting[0])
        try:
            if rows:
                scored.add(rows, *scorer.score([encoded[row] for row in rows], [names[row] for row in rows]))
        except RuntimeError as error:
            if len(rows) == 1 or not _is_out_of_memory(error):
                raise
            waiting = deque(half for batch in waiting for half in _halves(batch))
            continue
        waiting.popleft()
        if progress is not None:
            progress(scored.count, len(names))


def batch_tokens_of(model: PreTrainedModel) -> int:
    """Most tokens of a batch on the model's device, `BATCH_TOKENS`."""
    return BATCH_TOKENS.get(model.device.type, BATCH_TOKENS["cpu"])


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """While open, the model is in evaluation mode; afterwards it is as before."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def pad(sequences: Sequence[Ids], device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids (B, T) padded on the right, and lengths (B,). No mask: a causal model's tokens do not see later ones."""
    tensors = [torch.as_tensor(ids, dtype=torch.long) for ids in sequences]
    lengths_B = torch.tensor([len(ids) for ids in sequences])
    return nn.utils.rnn.pad_sequence(tensors, batch_first=True).to(device), lengths_B.to(device)


def _halves(batch: list[int]) -> list[list[int]]:
    middle = len(batch) // 2
    return [half for half in (batch[:middle], batch[middle:]) if half]


def _distinct(layers: Sequence[int] | Literal["all"], model: PreTrainedModel) -> list[int]:
    """Layers as numbers from 0, each once."""
    return sorted({layer_number(model, n) for n in (range(len(decoder_layers(model))) if layers == "all" else layers)})


def _probes(model: PreTrainedModel, layers: Sequence[int], sites: Sequence[Site]) -> list[Probe]:
    """Every layer at every site; of several sites, the final norm lies after the last layer alone."""
    probes = [
        (site, layer)
        for site in sites
        for layer in layers
        if len(sites) == 1 or site != "final_norm" or layer_number(model, layer) == len(decoder_layers(model)) - 1
    ]
    for site, layer in probes:
        probed_module(model, SignalConfig(site=site, layer=layer))
    return probes


def _require_scorable(
    model: PreTrainedModel, encoded: Sequence[EncodedPrompt], problems: ProblemSet, signal: SignalConfig
) -> None:
    if not encoded[0].prefix_tokens:
        raise InputError(
            "the prompt has no token before the question, so c_inter is undefined; give it a system message"
        )
    short = [row for row, encoding in enumerate(encoded) if encoding.question_tokens < 2]
    if signal.definition == "off-diagonal" and short:
        raise InputError(f"the question of {problems.ids[short[0]]} is one token; off-diagonal needs two")
    largest, vocabulary = (
        max(int(encoding.ids.max()) for encoding in encoded),
        model.get_input_embeddings().num_embeddings,
    )
    if largest >= vocabulary:
        raise InputError(
            f"the tokenizer gives token {largest}, but the model has {vocabulary} tokens; they do not belong together"
        )


def _table(problems: ProblemSet, encoded: Sequence[EncodedPrompt], scored: PartialScores) -> pd.DataFrame:
    """One row per (problem, probe)."""
    repeats = scored.c_intra_NL.shape[1]
    columns: dict[str, Any] = {
        "problem_id": np.repeat(np.array(problems.ids, dtype=object), repeats),
        "c_intra": scored.c_intra_NL.ravel(),
        "c_inter": scored.c_inter_NL.ravel(),
        "angle": (scored.c_intra_NL + scored.c_inter_NL).ravel(),
        "question_tokens": np.repeat([encoding.question_tokens for encoding in encoded], repeats),
        "prefix_tokens": encoded[0].prefix_tokens,
    }
    return pd.DataFrame(columns)


class _Scorer:
    """Holds what all prompts share: the prefix's keys and values in every layer, and its unit vectors at each site.

    Models that carry a state instead of keys and values (Mamba) run the prefix again with every question.
    """

    def __init__(
        self, model: PreTrainedModel, signal: SignalConfig, probes: Sequence[Probe], first: EncodedPrompt
    ) -> None:
        self.model, self.signal, self.probes = model, signal, probes
        self.prefix_tokens = first.prefix_tokens
        self.cache = None if model._is_stateful else DynamicCache(config=model.config)
        ids_1P = torch.as_tensor(first.ids[None, : first.prefix_tokens], dtype=torch.long, device=model.device)
        self.prefix_L1PD = self._hidden_states(ids_1P, self.cache)
        for (_, layer), states_1PD in zip(probes, self.prefix_L1PD, strict=True):
            if not states_1PD.isfinite().all():
                raise InputError(f"hidden states of the prompt's prefix are not finite at layer {layer}")
            if not states_1PD.any():
                raise InputError(
                    f"hidden states of the prompt's prefix are all zero at layer {layer}; angles need others"
                )

    def score(self, prompts: Sequence[EncodedPrompt], names: Sequence[str]) -> tuple[Floats, Floats]:
        """c_intra and c_inter, (B, L) each, L probes. Raises InputError where hidden states are not finite (problem, layer)."""
        to_end = self.signal.definition == "released"
        again = self.prefix_tokens if self.cache is None else 0
        tokens = [
            encoding.ids[self.prefix_tokens - again : None if to_end else encoding.question_end] for encoding in prompts
        ]
        ids_BT, length_B = pad(tokens, self.model.device)
        hidden_LBTD = self._hidden_states(ids_BT, self._cache_of(len(prompts)))
        by_layer = []
        for prefix_1PD, hidden_BTD in zip(self.prefix_L1PD, hidden_LBTD, strict=True):
            by_layer.append(self._signal(prefix_1PD, hidden_BTD[:, again:], length_B - again))
        c_intra_BL, c_inter_BL, finite_BL = torch.stack(by_layer, dim=-1).cpu().numpy()
        if not finite_BL.all():
            row, probe = np.argwhere(finite_BL == 0)[0]
            raise InputError(f"hidden states of {names[row]} are not finite at layer {self.probes[probe][1]}")
        return c_intra_BL, c_inter_BL

    def _signal(self, prefix_1PD: Tensor, hidden_BQD: Tensor, length_B: Tensor) -> Tensor:
        """c_intra, c_inter, and whether all hidden states are finite, at one layer: (3, B), float64."""
        mask_BQ = torch.arange(hidden_BQD.shape[1], device=hidden_BQD.device) < length_B[:, None]
        if self.signal.definition == "released":
            whole_BTD = torch.cat([prefix_1PD.expand(len(length_B), -1, -1), hidden_BQD], dim=1)
            result = released_concentration(whole_BTD, length_B + self.prefix_tokens)
        else:
            prefix_1D = unit_mean(prefix_1PD, torch.ones_like(prefix_1PD[..., 0], dtype=torch.bool))
            result = concentration(unit_mean(hidden_BQD, mask_BQ), length_B, prefix_1D, self.signal.definition)
        finite_B = (hidden_BQD.isfinite().all(-1) | ~mask_BQ).all(1)
        return torch.stack([result.c_intra, result.c_inter, finite_B]).double()

    def _hidden_states(self, ids_BT: Tensor, cache: DynamicCache | None) -> list[Tensor]:
        reuse = {} if cache is None else {"past_key_values": cache}
        return hidden_states(self.model, self.probes, input_ids=ids_BT, use_cache=cache is not None, **reuse)

    def _cache_of(self, size: int) -> DynamicCache | None:
        """The prefix's keys and values for a batch: views, since attention joins them to the questions' own anyway."""
        if self.cache is None:
            return None
        cache = copy.deepcopy(self.cache)
        for layer in cache.layers:
            if layer.get_seq_length():
                layer.keys = layer.keys.expand(size, -1, -1, -1)
                layer.values = layer.values.expand(size, -1, -1, -1)  # noqa: PD011 (a cache, not a table)
        return cache


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
