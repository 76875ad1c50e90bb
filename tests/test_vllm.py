"""vLLM's engine for real, on the CPU, beside transformers'. `make test-vllm` makes the environment that this needs."""

import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from gainrl.errors import InputError
from gainrl.evaluation.benchmarks import BENCHMARKS, load_benchmark
from gainrl.evaluation.harness import Evaluation, Sampling
from gainrl.models import SHAPES
from gainrl.models.generation.hf import hf_backend
from gainrl.models.generation.vllm import VllmBackend
from gainrl.models.loading import load_model
from gainrl.models.supervised import supervise
from gainrl.models.text import bpe_tokenizer, random_model
from gainrl.problems import load_problems
from gainrl.prompts import Prompt, encode_prompts
from gainrl.runs.records import RunFolder
from tests.helpers import gainrl
from tests.test_benchmarks import SHARED, silent

pytestmark = pytest.mark.vllm

NAMES = ("math500", "aime24", "gsm8k")
CONTEXT, LIMIT, TOKENS = 1024, 12, 24
STEPS, BATCH = 150, 8


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A folder with the benchmarks: the real questions where they are beside this checkout, else generated ones."""
    if SHARED.exists():
        return SHARED
    folder = tmp_path_factory.mktemp("data")
    for seed, name in enumerate(NAMES):
        rows = [{"question": p.question, "answer": p.answer} for p in load_problems("arithmetic", seed=seed).problems]
        (folder / f"{BENCHMARKS[name].files[0]}.json").write_text(json.dumps(rows[:LIMIT]))
    return folder


@pytest.fixture(scope="module")
def questions(data):
    return {name: load_benchmark(name, data, limit=LIMIT) for name in NAMES}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, questions) -> Path:
    """A small model that answers everything with a little arithmetic: no near-ties in its argmax, and it comes to an end.

    Its generation settings would make every sample the same and punish repetition, as those of a hub's model may.
    """
    lessons = load_problems("arithmetic", limit=STEPS * BATCH, seed=0).problems
    texts = [p.question for chosen in questions.values() for p in chosen.problems]
    tokenizer = bpe_tokenizer([*texts, *(f"{p.question} {p.gold_completion}" for p in lessons[:100])], 600)
    model = random_model(SHAPES["small"].model_copy(update={"context": CONTEXT}), tokenizer, seed=0)
    rows = [
        {"prompt": Prompt().messages(p.question), "completion": [{"role": "assistant", "content": p.gold_completion}]}
        for p in lessons
    ]
    sizes = {"steps": STEPS, "batch_size": BATCH, "ramp_steps": 5, "longest": 512}
    supervise(model, tokenizer, rows, learning_rate=3e-3, seed=0, **sizes)
    model.generation_config.update(do_sample=True, top_k=1, repetition_penalty=1.5)
    folder = tmp_path_factory.mktemp("model")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def loaded(folder):
    return load_model(str(folder), cache=folder)


@pytest.fixture(scope="module")
def backends(folder, loaded):
    hf = hf_backend(loaded.model, loaded.tokenizer)
    return {"hf": hf, "vllm": VllmBackend(str(folder), hf.end_tokens, hf.context, "float32")}


def tables(backends, loaded, questions, out: Path, sampling: Sampling, names=NAMES, which=("hf", "vllm")):
    """Every sample of the benchmarks, by backend."""
    found = {}
    for backend in which:
        rows = [
            Evaluation(name, questions[name], backends[backend], loaded.tokenizer, sampling, loaded.version).run(
                out / backend, silent
            )
            for name in names
        ]
        found[backend] = pd.concat(rows, keys=names).reset_index(level=0, names="benchmark")
    return found


@pytest.fixture(scope="module")
def prompts(loaded, questions) -> list[list[int]]:
    problems = [p for chosen in questions.values() for p in chosen.problems]
    encoded = encode_prompts(
        loaded.tokenizer, [Prompt().messages(p.question) for p in problems], [p.problem_id for p in problems]
    )
    return [one.ids.tolist() for one in encoded]


def test_greedy_completions_of_benchmarks_are_those_of_transformers(backends, loaded, questions, tmp_path):
    both = tables(backends, loaded, questions, tmp_path, Sampling(max_completion_tokens=TOKENS))
    hf, vllm = both["hf"], both["vllm"]
    assert hf.problem_id.tolist() == vllm.problem_id.tolist()
    same = (hf.completion == vllm.completion) & (hf.tokens == vllm.tokens)
    print(f"greedy completions that agree: {same.sum()} of {len(same)}, {hf.completion.nunique()} different ones")
    assert same.mean() >= 0.95
    assert (hf.truncated == vllm.truncated)[same].all()
    assert (hf.reason == vllm.reason)[same].all()
    assert hf.completion.nunique() > 6  # else agreement says little
    assert 0 < hf.truncated.mean() < 1


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_completion_ends_in_an_end_token_unless_it_was_cut(backends, prompts, temperature):
    shares = {}
    for kind, backend in backends.items():
        completions = backend(prompts * 4, max_tokens=TOKENS, temperature=temperature, seed=0)
        for completion in completions:
            assert completion.truncated == (completion.ids[-1] not in backend.end_tokens)
            assert not set(completion.ids[:-1]) & set(backend.end_tokens)
            assert len(completion.ids) == TOKENS if completion.truncated else len(completion.ids) <= TOKENS
        shares[kind] = sum(one.truncated for one in completions) / len(completions)
    assert 0 < shares["vllm"] < 1
    assert shares["vllm"] == pytest.approx(shares["hf"], abs=0.05 if temperature == 0 else 0.25)


def test_an_end_token_at_the_limit_is_no_truncation_and_a_token_less_is(backends, prompts):
    for backend in backends.values():
        ended = backend(prompts, max_tokens=TOKENS, temperature=0.0, seed=0)
        row = next(row for row, one in enumerate(ended) if not one.truncated)
        tokens = len(ended[row].ids)
        (exact,) = backend([prompts[row]], max_tokens=tokens, temperature=0.0, seed=0)
        (short,) = backend([prompts[row]], max_tokens=tokens - 1, temperature=0.0, seed=0)
        assert exact == ended[row]
        assert short.ids == exact.ids[:-1]
        assert short.truncated


def test_every_one_of_several_end_tokens_stops_vllm(backends, prompts, monkeypatch):
    backend = backends["vllm"]
    (plain,) = backend(prompts[:1], max_tokens=TOKENS, temperature=0.0, seed=0)
    stop = plain.ids[5]
    monkeypatch.setattr(backend, "end_tokens", [*backend.end_tokens, stop])
    (stopped,) = backend(prompts[:1], max_tokens=TOKENS, temperature=0.0, seed=0)
    assert stopped.ids == plain.ids[: plain.ids.index(stop) + 1]
    assert not stopped.truncated


def test_samples_are_seeded_and_the_models_own_settings_are_left_out(backends, loaded, questions, tmp_path):
    def samples(out: str, seed: int) -> pd.DataFrame:
        sampling = Sampling(4, 1.0, TOKENS, seed)
        return tables(backends, loaded, questions, tmp_path / out, sampling, NAMES[:2], ["vllm"])["vllm"]

    first, again, other = samples("first", 0), samples("again", 0), samples("other", 1)
    pd.testing.assert_frame_equal(first, again)
    assert (first.completion == other.completion).mean() < 0.1
    different = first.groupby(["benchmark", "problem_id"]).completion.nunique()
    assert different.mean() > 3.5  # top_k of 1, which the folder's settings ask for, would give one


def test_a_prompt_may_fill_the_context_but_for_the_completion(backends, prompts):
    full = (prompts[0] * 10)[: CONTEXT - 4]
    hf, vllm = (backend([full], max_tokens=4, temperature=0.0, seed=0) for backend in backends.values())
    assert hf == vllm


def test_vllm_has_the_type_and_the_context_that_were_asked_for(backends, folder):
    config = backends["vllm"].engine.llm_engine.model_config
    assert (config.dtype, config.max_model_len) == (torch.float32, CONTEXT)
    with pytest.raises(InputError, match=f"vLLM cannot serve .*{CONTEXT}"):
        VllmBackend(str(folder), [0], CONTEXT + 1, "float32")


def test_the_command_goes_on_after_its_engine_was_killed(folder, data, tmp_path, monkeypatch, capfd):
    arguments = ["evaluate", str(folder), "--backend", "vllm", "--tasks", "gsm8k,aime24", "--data-dir", str(data)]
    arguments += ["--limit", "8", "--max-completion-tokens", str(TOKENS), "--dtype", "bfloat16"]
    arguments += ["--out", str(tmp_path / "evals")]
    before, calls, types = set(multiprocessing.active_children()), [], set()
    answer = VllmBackend.__call__

    def answer_until_killed(self, prompts, **settings):
        calls.append(len(prompts))
        types.add(self.engine.llm_engine.model_config.dtype)
        if len(calls) == 2:
            for process in set(multiprocessing.active_children()) - before:
                process.kill()
        return answer(self, prompts, **settings)

    monkeypatch.setattr(VllmBackend, "__call__", answer_until_killed)
    code, _, err = gainrl(monkeypatch, capfd, *arguments)
    assert code == 2
    assert err.splitlines()[-1].startswith(
        "gainrl: the vllm backend failed: RuntimeError: vLLM's engine process was killed"
    )
    assert (tmp_path / "evals" / "gsm8k.parquet").exists()
    assert not (tmp_path / "evals" / "aime24.parquet").exists()

    code, out, _ = gainrl(monkeypatch, capfd, *arguments)
    assert code == 0
    assert calls == [8, 8, 8]  # gsm8k, aime24 in vain, aime24
    assert types == {torch.bfloat16}
    assert out.splitlines()[0].startswith("| benchmark")  # and nothing of the engine's before it
    evals = [json.loads(line) for line in (tmp_path / "evals" / "evals.jsonl").read_text().splitlines()]
    assert [(row["benchmark"], row["metric"], row["n"]) for row in evals] == [
        ("gsm8k", "accuracy", 8),
        ("aime24", "accuracy", 8),
    ]


def test_training_samples_with_vllm_from_the_weights_as_they_are(folder, tmp_path):
    program = [sys.executable, "-m", "tests.vllm_training", str(folder), str(tmp_path)]
    done = subprocess.run(program, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stderr[-3000:]
    vllm, plain = (RunFolder(tmp_path / name) for name in ("vllm", "transformers"))
    assert vllm.draws()[["epoch", "problem_id"]].equals(plain.draws()[["epoch", "problem_id"]])
    drift = vllm.metrics().vllm_logp_difference
    print(f"largest difference of log-probabilities, by step: {drift.round(4).tolist()}")
    assert drift.median() < 0.2  # not nothing: TRL lets vLLM choose the type, and it takes 16 bits
    assert vllm.metrics().reward.tolist() != plain.metrics().reward.tolist()  # other samples
    start, end = vllm.evals().to_dict("records")
    by_transformers = json.loads((tmp_path / "transformers_on_the_trained.json").read_text())
    for mine, theirs in ((start, plain.evals().iloc[0]), (end, by_transformers)):
        for name in ("value", "truncated", "unparseable"):
            assert mine[name] == pytest.approx(theirs[name], abs=0.1)  # of 60 answers
    print(f"truncated before and after: {start['truncated']:.2f}, {end['truncated']:.2f}")
    assert start["truncated"] != end["truncated"]  # the weights have changed: the engine has the new ones
