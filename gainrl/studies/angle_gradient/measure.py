"""Angle against gradient: every problem's angle at every layer, beside the norms of the gradient that it would give.

Shapes: R rows (completions), B problems of a batch, T tokens of a row, D features.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from gainrl.columns import Column, Rows
from gainrl.errors import InputError
from gainrl.files import append_json_line, read_json_lines
from gainrl.models.loading import context_length
from gainrl.problems import Problem, ProblemSet
from gainrl.progress import Progress
from gainrl.prompts import EncodedPrompt, Prompt, encode_problems, encode_prompts, length_batches, require_fit, segments
from gainrl.runs.config import SignalConfig
from gainrl.scoring import Scores
from gainrl.scoring.hooks import capture, decoder_layers, layer_number, reading_modules
from gainrl.studies.angle_gradient.losses import Row, grpo_rows, supervised_rows, tensors
from gainrl.studies.gradients import Gram, decompose, gram, product_square, squared_gradient_norms, takes_branches

DECOMPOSED = 256
"""How many problems, the first of the set, are decomposed by default; the T x T matrices of all of them are held at once."""


@dataclass(frozen=True)
class Measured:
    """What `measure` gives.

    ``table``: one row per (problem, layer, loss), the input of `analysis.angle_gradient`; its ``question_share`` is the
    part of ``gradient_projection`` squared that comes from pairs of question tokens, its ``completion_tokens`` the length
    of what the loss is about, end token included (the mean over a group's completions).
    ``parts``: one row per (layer, problem), from `gainrl.studies.gradients.decompose`, for the supervised loss.
    """

    table: pd.DataFrame
    parts: pd.DataFrame


def measure(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    problems: ProblemSet,
    scores: Scores,
    prompt: Prompt | None = None,
    *,
    signal: SignalConfig | None = None,
    completions: Mapping[str, str] | None = None,
    rollouts: pd.DataFrame | None = None,
    temperature: float = 1.0,
    batch_tokens: int | None = None,
    decomposed: int = DECOMPOSED,
    unfinished: Path | None = None,
    progress: Progress | None = None,
) -> Measured:
    """Gradient norms of every problem's losses beside its angles.

    - ``supervised``: mean over the completion's tokens (end token included) of - log p.
    - ``grpo``: mean over the group's completions of advantage * (mean over tokens of - log p), which is the gradient of
      TRL's loss "grpo" at the policy that sampled them; advantage = (reward - mean) / (std + 1e-4), reward 0 or 1.

    Args:
        scores: of these problems, at all layers, by the definition ``paper`` (`score_problems(..., layers="all")`).
        completions: problem_id -> completion for the supervised loss; by default the gold ones.
        rollouts: from `sample_completions`, the same number for each problem; without them there is no GRPO loss.
        batch_tokens: most tokens of a batch, padding included; by default `batch_tokens_for`.
        decomposed: how many problems have ``parts``, the first ones.
        unfinished: file that keeps finished batches, so that the same call resumes, but for the problems that are decomposed.
        progress: called with (finished problems, all problems), each counted once per loss.

    Raises InputError: a problem has no completion, a sequence exceeds the context, a gradient is not finite, or the unfinished
        file is damaged.
    """
    prompt, signal = prompt or problems.prompt, signal or SignalConfig()
    encoded = encode_problems(tokenizer, problems.problems, prompt)
    groups = {"supervised": supervised_rows(tokenizer, problems, completions)}
    if rollouts is not None:
        groups["grpo"] = grpo_rows(problems, rollouts)
    longest = max(len(ids) for rows in groups.values() for group in rows for ids, _ in group)
    require_fit(encoded, problems.ids, context_length(model.config), longest)

    layers, kept = _Layers(model, signal), _Kept(unfinished, len(problems))
    tables: list[pd.DataFrame] = []
    grams: dict[int, dict[int, Gram]] = {}
    for index, (loss, rows) in enumerate(groups.items()):
        loss_temperature = 1.0 if loss == "supervised" else temperature
        # a prompt that several completions follow is computed once where the model allows it
        branches = len(rows[0]) > 1 and takes_branches(model)
        norms = _GradientNorms(layers, decomposed if loss == "supervised" else 0, branches)
        norms.resume(kept.rows(loss))
        lengths = [_tokens(prompt, group, branches) for prompt, group in zip(encoded, rows, strict=True)]
        for whole in length_batches(lengths, batch_tokens or batch_tokens_for(model)):
            if batch := [row for row in whole if row not in norms.done]:
                prompts, completed = [encoded[row] for row in batch], [rows[row] for row in batch]
                kept.add(loss, norms.add(model, batch, prompts, completed, loss_temperature))
            if progress is not None:
                progress(index * len(problems) + len(norms.done), len(groups) * len(problems))
        tokens = {name: np.mean([len(ids) for ids, _ in group]) for name, group in zip(problems.ids, rows, strict=True)}
        table = norms.table(problems, loss)
        tables.append(table.assign(completion_tokens=table.problem_id.map(tokens)))
        grams = grams or norms.grams
    table = pd.concat(tables).merge(_angles(scores), on=["problem_id", "layer"])
    return Measured(table.merge(_features(problems, rollouts), on="problem_id"), _parts(problems, grams))


def cosine_matrices(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, problem: Problem, prompt: Prompt, signal: SignalConfig
) -> tuple[dict[int, np.ndarray[Any, Any]], list[tuple[str, int, int]]]:
    """Layer -> cosines of all pairs of tokens (T, T) of one prompt at the site, and the prompt's segments."""
    messages = prompt.messages(problem.question)
    (encoding,) = encode_prompts(tokenizer, [messages], [problem.problem_id])
    ids_1T = torch.as_tensor(encoding.ids[None], dtype=torch.long, device=model.device)
    matrices = {}
    for layer in range(len(decoder_layers(model))):
        with torch.no_grad(), capture(model, signal.model_copy(update={"layer": layer})) as states:
            model.get_decoder()(input_ids=ids_1T, use_cache=False)
        unit_TD = nn.functional.normalize(states[0][0].float(), dim=-1)
        matrices[layer] = (unit_TD @ unit_TD.T).cpu().numpy()
    return matrices, segments(tokenizer, messages)


class _Layers:
    """Which parameters and which reading modules belong to which decoder layer."""

    def __init__(self, model: PreTrainedModel, signal: SignalConfig) -> None:
        layers = decoder_layers(model)
        self.count = len(layers)
        layer_of = {id(parameter): number for number, layer in enumerate(layers) for parameter in layer.parameters()}
        self.of_parameter = {name: layer_of.get(id(parameter)) for name, parameter in model.named_parameters()}
        self.readers = {
            number: reading_modules(model, signal.model_copy(update={"layer": number}))
            for number in range(self.count)
            if signal.site == "mlp_input"
        }
        self.of_reader = {name: number for number, names in self.readers.items() for name in names}
        self.decomposed = {self.count // 2, layer_number(model, signal.layer)}


class _Kept:
    """The finished batches of an interrupted measurement, one line each; with no path nothing is kept."""

    COLUMNS = Rows(
        {
            "loss": Column("text"),
            "row": Column("whole number", low=0),
            "layer": Column("whole number", low=0),
            **dict.fromkeys(("gradient_model", "gradient_layer"), Column(low=0)),
            **dict.fromkeys(("gradient_projection", "question_share"), Column(nullable=True)),
        }
    )

    def __init__(self, path: Path | None, problems: int) -> None:
        self.path = path
        lines = [] if path is None else read_json_lines(path, mend=True)
        try:
            table = pd.DataFrame([row for line in lines for row in line], columns=list(self.COLUMNS.columns))
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}: has a line that is no list of rows; remove it") from error
        if len(table):
            self.COLUMNS.check(table, str(path))
        if (table.row >= problems).any():
            raise InputError(f"{path}: has more than {problems} problems; remove it")
        self.table = table.fillna(np.nan).drop_duplicates(["loss", "row", "layer"], keep="last")

    def rows(self, loss: str) -> list[dict[str, Any]]:
        own = self.table[self.table.loss == loss].drop(columns="loss")
        return [dict(zip(own.columns, values, strict=True)) for values in own.itertuples(index=False)]

    def add(self, loss: str, rows: list[dict[str, Any]]) -> None:
        """A batch with a gradient that is not finite is not kept: with it the measurement ends in an error."""
        if self.path is not None and all(np.isfinite(row["gradient_model"]) for row in rows):
            numbers = [{key: value if np.isfinite(value) else None for key, value in row.items()} for row in rows]
            append_json_line(self.path, [{"loss": loss, **row} for row in numbers])


class _GradientNorms:
    """One loss's gradient norms, batch after batch."""

    def __init__(self, layers: _Layers, decomposed: int, branches: bool) -> None:
        self.layers, self.decomposed, self.branches = layers, decomposed, branches
        self.rows: list[dict[str, Any]] = []
        self.done: set[int] = set()
        self.grams: dict[int, dict[int, Gram]] = defaultdict(dict)

    def resume(self, rows: list[dict[str, Any]]) -> None:
        """Take over what was measured before, but for the problems of which more than norms is wanted."""
        self.rows = [row for row in rows if row["row"] >= self.decomposed]
        self.done = {row["row"] for row in self.rows}

    def add(
        self,
        model: PreTrainedModel,
        batch: Sequence[int],
        prompts: Sequence[EncodedPrompt],
        groups: Sequence[Sequence[Row]],
        temperature: float,
    ) -> list[dict[str, Any]]:
        """Run one forward and one backward pass for the problems ``batch`` (positions in the set); their rows."""
        given = tensors(prompts, groups, model.device, branches=self.branches)
        question_BT = given.question_RT.reshape(len(batch), -1)
        gradients: dict[int, list[Tensor]] = defaultdict(list)
        shares: dict[int, Tensor] = {}

        def receive(name: str, x_BTD: Tensor, g_BTE: Tensor) -> None:
            layer = self.layers.of_reader.get(name)
            if layer is None:
                return
            gradients[layer].append(g_BTE)
            if len(gradients[layer]) == len(self.layers.readers[layer]):
                # the readers share x, so they are one linear layer whose outputs lie side by side
                all_g_BTE = torch.cat(gradients.pop(layer), dim=-1)
                shares[layer] = _question_share(x_BTD, all_g_BTE, question_BT)
                self._keep_grams(layer, batch, x_BTD, all_g_BTE)

        squares = squared_gradient_norms(
            model,
            given.ids_RT,
            given.mask_RT,
            given.weight_RT,
            branch_RT=given.branch_RT,
            rows_per_sample=len(given.ids_RT) // len(batch),
            temperature=temperature,
            receive=receive,
        )
        rows = [
            {"row": row, "layer": layer, **{name: float(values[index]) for name, values in columns.items()}}
            for layer, columns in self._by_layer(squares, shares, len(batch)).items()
            for index, row in enumerate(batch)
        ]
        self.rows += rows
        self.done |= set(batch)
        return rows

    def _keep_grams(self, layer: int, batch: Sequence[int], x_BTD: Tensor, g_BTE: Tensor) -> None:
        if layer in self.layers.decomposed:
            for index, row in enumerate(batch):
                if row < self.decomposed:
                    self.grams[layer][row] = gram(x_BTD[index], g_BTE[index])

    def _by_layer(
        self, squares: Mapping[str, Tensor], shares: Mapping[int, Tensor], size: int
    ) -> dict[int, dict[str, Any]]:
        absent_B = torch.full((size,), float("nan"))
        whole_B = torch.stack([square.double() for square in squares.values()]).sum(0).sqrt()
        result = {}
        for layer in range(self.layers.count):
            own = [squares[name].double() for name, number in self.layers.of_parameter.items() if number == layer]
            read = [squares[f"{name}.weight"].double() for name in self.layers.readers.get(layer, ())]
            result[layer] = {
                "gradient_model": whole_B.cpu(),
                "gradient_layer": torch.stack(own).sum(0).sqrt().cpu(),
                "gradient_projection": torch.stack(read).sum(0).sqrt().cpu() if read else absent_B,
                "question_share": shares.get(layer, absent_B).cpu(),
            }
        return result

    def table(self, problems: ProblemSet, loss: str) -> pd.DataFrame:
        """Raises InputError naming a problem whose gradient is not finite."""
        table = pd.DataFrame(self.rows).sort_values(["row", "layer"], ignore_index=True)
        rows = table.row[~np.isfinite(table.gradient_model)]
        if len(rows):
            name = problems.ids[rows.iloc[0]]
            raise InputError(f"the gradient of the {loss} loss of {name} is not finite ({rows.nunique()} problems)")
        table.insert(0, "problem_id", [problems.ids[row] for row in table.row])
        return table.drop(columns="row").assign(loss=loss)


def batch_tokens_for(model: PreTrainedModel) -> int:
    """Most tokens of a batch: 2,048; on a CPU fewer for a wide model, so that a layer's activations fit into its cache."""
    fitting = 2**18 // model.config.get_text_config().hidden_size
    return 2048 if model.device.type != "cpu" else max(1, min(2048, fitting))


def _tokens(prompt: EncodedPrompt, group: Sequence[Row], branches: bool) -> int:
    """How many tokens a problem takes in a batch."""
    lengths = [len(ids) for ids, _ in group]
    return len(prompt.ids) + sum(lengths) if branches else len(group) * (len(prompt.ids) + max(lengths))


def _question_share(x_BTD: Tensor, g_BTE: Tensor, question_BT: Tensor) -> Tensor:
    """Part of |x^T g|^2 that comes from pairs of question tokens, (B,); NaN where there is no gradient."""
    return product_square(x_BTD * question_BT[..., None], g_BTE) / product_square(x_BTD, g_BTE)


def _angles(scores: Scores) -> pd.DataFrame:
    table = scores.table
    length = table.question_tokens
    without_diagonal = ((table.c_intra * length - 1) / (length - 1)).where(length > 1)
    columns = ["problem_id", "layer", "angle", "c_intra", "c_inter", "question_tokens"]
    return table[columns].assign(off_diagonal=without_diagonal + table.c_inter)


def _features(problems: ProblemSet, rollouts: pd.DataFrame | None) -> pd.DataFrame:
    table = pd.DataFrame({"problem_id": problems.ids, "difficulty": problems.difficulties()})
    if rollouts is None:
        return table.assign(pass_rate=np.nan)
    pass_rate = rollouts.groupby("problem_id")["correct"].mean().rename("pass_rate")
    return table.merge(pass_rate, on="problem_id")


def _parts(problems: ProblemSet, grams: Mapping[int, Mapping[int, Gram]]) -> pd.DataFrame:
    tables = [decompose([]).assign(layer=0, problem_id="")]
    for layer, by_row in grams.items():
        rows = list(by_row)
        parts = decompose([by_row[row] for row in rows])
        tables.append(parts.assign(layer=layer, problem_id=[problems.ids[rows[index]] for index in parts.index]))
    return pd.concat(tables[len(grams) > 0 :], ignore_index=True)
