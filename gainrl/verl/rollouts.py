"""What verl's queue holds of trained rollouts and of answers to held-out problems, read into plain lists and tables."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd
import transfer_queue
from tensordict import NonTensorData


def trained(batch: Any, *, angles: bool) -> dict[str, list[Any]]:
    """``rows``, ``correct`` (NaN: no verdict), ``tokens``, ``rewards`` and, if asked for, ``angles``: one entry a rollout.

    The correctness is what the reward function returns as ``acc``, else the reward. Padding, and what a failed group left out,
    is in none of them.
    """
    last = _last_of_sessions(batch)
    fields = ["index", "rm_scores", "extra_fields", *(["angle"] if angles else [])]
    data = transfer_queue.kv_batch_get(keys=list(last), partition_id=batch.partition_id, select_fields=fields)
    rewards = [float(scores.sum()) for scores in data["rm_scores"].unbind()]
    correct = [
        _information(extra).get("acc", reward) for extra, reward in zip(data["extra_fields"], rewards, strict=True)
    ]
    return {
        "rows": [int(plain(row)) for row in data["index"]],
        "correct": [float("nan") if value is None else float(value) for value in correct],
        "tokens": [int(tag["response_len"]) for tag in last.values()],
        "rewards": rewards,
        **({"angles": [float(angle) for angle in data["angle"].values()]} if angles else {}),
    }


def answered(batch: Any, limit: int, end_tokens: Collection[int]) -> dict[str, dict[str, Any]]:
    """Of each answer, by the uid of its problem: whether it was cut at ``limit`` tokens, and the problem's kind (or None)."""
    last = _last_of_sessions(batch)
    if not last:  # all graders failed
        return {}
    data = transfer_queue.kv_batch_get(
        keys=list(last), partition_id=batch.partition_id, select_fields=["uid", "responses", "extra_info"]
    )
    found = {}
    for uid, ids, extra in zip(data["uid"], data["responses"].unbind(), data["extra_info"], strict=True):
        cut = len(ids) >= limit and int(ids[-1]) not in end_tokens
        found[str(plain(uid))] = {"truncated": float(cut), "kind": (plain(extra) or {}).get("kind")}
    return found


def accuracies(
    asked: Collection[tuple[str, str]],
    uids: Sequence[str],
    infos: Mapping[str, Sequence[Any]],
    known: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """A row for each benchmark and metric: ``accuracy``, and ``accuracy of <kind>`` where two problems or more are of a kind.

    Args:
        asked: (benchmark, uid) of every problem; one without an answer, because its grader failed, counts as wrong.
        uids: of the answers.
        infos: what the reward function returned of each answer: ``acc`` or ``reward``, ``unparseable``.
        known: `answered` of each.
    """
    correct = infos["acc"] if "acc" in infos else infos["reward"]
    unparseable = infos.get("unparseable", [None] * len(uids))
    answers = {
        uid: {"correct": float(value or 0), "unparseable": failed, **known[uid]}
        for uid, value, failed in zip(uids, correct, unparseable, strict=True)
    }
    columns = ["correct", "unparseable", "truncated", "kind"]
    table = pd.DataFrame([{"benchmark": name, **answers.get(uid, {"correct": 0.0})} for name, uid in asked])
    table = table.reindex(columns=["benchmark", *columns])
    found = []
    for benchmark, of_benchmark in table.groupby("benchmark", sort=False):
        kinds = {f"accuracy of {kind}": rows for kind, rows in of_benchmark.groupby("kind") if len(rows) > 1}
        for metric, rows in {"accuracy": of_benchmark, **kinds}.items():
            values = rows[columns[:3]].astype(float)
            found.append(
                {
                    "benchmark": benchmark,
                    "metric": metric,
                    "accuracy": values.correct.mean(),
                    "stderr": values.correct.std() / len(rows) ** 0.5,
                    "n": len(rows),
                    "truncated": values.truncated.mean(),
                    "unparseable": values.unparseable.mean(),
                }
            )
    return found


def _last_of_sessions(batch: Any) -> dict[str, dict[str, Any]]:
    """Key -> tag of each rollout that is no padding; of an agent's several outputs, the last."""
    last: dict[str, tuple[str, dict[str, Any]]] = {}
    for key, tag in zip(batch.keys, batch.tags, strict=True):
        session, _, number = key.rpartition("_")
        if not tag.get("is_padding", False) and (
            session not in last or int(number) > int(last[session][0].rpartition("_")[2])
        ):
            last[session] = (key, tag)
    return dict(last.values())


def _information(extra: Any) -> dict[str, Any]:
    """What the reward function returned beside the score."""
    information = (plain(extra) or {}).get("reward_extra_info")
    return information if isinstance(information, dict) else {}


def plain(value: Any) -> Any:
    """The value itself, where tensordict has wrapped what is no tensor."""
    return value.data if isinstance(value, NonTensorData) else value
