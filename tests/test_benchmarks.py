import importlib
import itertools
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from lm_eval.tasks import TaskManager
from transformers import AutoConfig, AutoModelForCausalLM

from gainrl import problems as problem_sets
from gainrl.errors import InputError
from gainrl.evaluation import harness as benchmarks
from gainrl.evaluation.benchmarks import BENCHMARKS, TASKS, load_benchmark
from gainrl.evaluation.harness import Evaluation, Sampling
from gainrl.evaluation.summary import summarize_samples
from gainrl.models.generation import Completion, end_tokens, hf
from gainrl.models.generation.hf import HfBackend, hf_backend
from gainrl.models.generation.vllm import VllmBackend
from gainrl.prompts import Prompt, encode_prompts
from tests.helpers import gainrl

SHARED = Path(__file__).parents[2] / "shared" / "data"
GENERATED = {name for name, benchmark in BENCHMARKS.items() if not benchmark.files}
PAPER = {name for name, benchmark in BENCHMARKS.items() if benchmark.in_paper}


def silent(what: str, done: int, of: int) -> None:
    pass


class Scripted:
    """A backend that knows the answers: it writes what it is told, and keeps the prompts that it was given."""

    name = "scripted"
    context = 256

    def __init__(self, tokenizer, texts):
        self.tokenizer, self.texts = tokenizer, itertools.cycle(texts)
        self.prompts = []

    def __call__(self, prompts, *, max_tokens, temperature, seed):
        self.prompts += [list(prompt) for prompt in prompts]
        self.settings = (max_tokens, temperature)
        written = [self.tokenizer(next(self.texts))["input_ids"] for _ in prompts]
        return [Completion([*ids, self.tokenizer.eos_token_id], False) for ids in written]


def run(tiny, problems, out, backend, sampling=None, name="arithmetic", **options):
    sampling = sampling or Sampling()
    return Evaluation(name, problems, backend, tiny.tokenizer, sampling, "v", **options).run(out, silent)


@pytest.mark.parametrize("prompt", [None, Prompt(system=None), Prompt(example=None)])
def test_the_backend_is_given_the_tokens_of_scoring_and_training(tiny, problems, tmp_path, prompt):
    backend = Scripted(tiny.tokenizer, ["1"])
    run(tiny, problems, tmp_path, backend, prompt=prompt)
    encoded = encode_prompts(
        tiny.tokenizer, [(prompt or Prompt()).messages(p.question) for p in problems.problems], problems.ids
    )
    assert sorted(backend.prompts) == sorted(one.ids.tolist() for one in encoded)


def test_rows_are_graded_samples_in_the_sets_order(tiny, problems, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmarks, "CHUNK", 5)
    backend = Scripted(tiny.tokenizer, [f"\\boxed{{{p.answer}}}" for p in problems.problems])
    table = run(tiny, problems, tmp_path, backend)
    assert tuple(table.columns) == benchmarks.SAMPLE_COLUMNS
    assert table.problem_id.tolist() == problems.ids
    assert table.correct.all()
    assert set(table.reason) == {"match"}
    assert not (tmp_path / "arithmetic.unfinished").exists()
    assert backend.settings == (256 - max(map(len, backend.prompts)), 0.0)


def test_several_samples_keep_their_numbers(tiny, problems, tmp_path):
    backend = Scripted(tiny.tokenizer, ["\\boxed{0}", "\\boxed{1}", "none"])
    table = run(tiny, problems, tmp_path, backend, Sampling(3, 0.5, max_completion_tokens=9))
    assert table["sample"].tolist() == [0, 1, 2] * len(problems)
    assert table.groupby("sample").completion.nunique().tolist() == [1, 1, 1]
    assert table[table["sample"] == 2].reason.unique().tolist() == ["no_answer"]
    assert backend.settings == (9, 0.5)


def test_what_is_finished_is_kept_and_not_asked_again(tiny, problems, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmarks, "CHUNK", 4)
    whole = run(tiny, problems, tmp_path / "whole", hf_backend(tiny.model, tiny.tokenizer), Sampling(2, 1.0, 5))
    engine, calls = hf_backend(tiny.model, tiny.tokenizer), []

    def breaks(prompts, **settings):
        calls.append(len(prompts))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return engine(prompts, **settings)

    breaks.name, breaks.context = "hf", 256
    with pytest.raises(KeyboardInterrupt):
        run(tiny, problems, tmp_path / "broken", breaks, Sampling(2, 1.0, 5))
    with (tmp_path / "broken" / "arithmetic.unfinished").open("a") as file:
        file.write('[{"problem_id": ')
    again = run(tiny, problems, tmp_path / "broken", breaks, Sampling(2, 1.0, 5))
    assert calls == [8, 8, 8, 8, 8]
    pd.testing.assert_frame_equal(again, whole)
    run(tiny, problems, tmp_path / "broken", None or breaks, Sampling(2, 1.0, 5))
    assert len(calls) == 5
    with pytest.raises(InputError, match=r"other settings \(samples differ\); remove it, or write to another --out"):
        run(tiny, problems, tmp_path / "broken", breaks, Sampling(3, 1.0, 5))


def test_a_benchmark_is_evaluated_by_one_process_at_a_time(tiny, problems, tmp_path):
    backend = hf_backend(tiny.model, tiny.tokenizer)
    with (
        FileLock(tmp_path / ".arithmetic.lock"),
        pytest.raises(InputError, match="another process evaluates arithmetic into .*; wait for it, or end it"),
    ):
        run(tiny, problems, tmp_path, backend, Sampling(max_completion_tokens=1))
    assert len(run(tiny, problems, tmp_path, backend, Sampling(max_completion_tokens=1))) == len(problems)


def test_samples_that_are_not_those_of_every_problem_are_no_result(tiny, problems, tmp_path):
    backend = hf_backend(tiny.model, tiny.tokenizer)
    run(tiny, problems, tmp_path, backend, Sampling(max_completion_tokens=1))
    samples = pd.read_parquet(tmp_path / "arithmetic.parquet")
    (tmp_path / "arithmetic.parquet").unlink()
    twice = pd.concat([samples, samples.head(1)]).to_dict("records")  # as two processes at once might leave it
    (tmp_path / "arithmetic.unfinished").write_text(json.dumps(twice, default=bool) + "\n")
    with pytest.raises(InputError, match="sample 0 is there twice"):
        run(tiny, problems, tmp_path, backend, Sampling(max_completion_tokens=1))
    assert not (tmp_path / "arithmetic.parquet").exists()
    for harmed, message in (
        (
            samples.head(len(samples) - 1),
            f"arithmetic.parquet holds {len(samples) - 1} samples that are not 1 of each of",
        ),
        (samples.assign(problem_id=samples.problem_id + "x"), "samples that are not 1 of each of"),
        (samples.head(0), "arithmetic.parquet holds 0 samples that are not 1 of each of"),
        (samples.head(0)[["problem_id"]], "arithmetic.parquet: has no column sample"),
    ):
        harmed.to_parquet(tmp_path / "arithmetic.parquet")
        with pytest.raises(InputError, match=message):
            run(tiny, problems, tmp_path, backend, Sampling(max_completion_tokens=1))


def test_truncated_answers_are_counted_as_such(tiny, problems, tmp_path):
    table = run(tiny, problems, tmp_path, hf_backend(tiny.model, tiny.tokenizer), Sampling(max_completion_tokens=1))
    assert table.truncated.all()
    assert set(table.reason) == {"truncated"}
    summary = summarize_samples(table)
    assert summary.truncated.tolist() == [1]
    assert summary.unparseable.tolist() == [1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"samples": 0}, "samples is 0; at least 1"), ({"samples": 2}, "2 greedy samples would be the same")],
)
def test_sampling_that_says_nothing_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        Sampling(**settings)


def samples_of(correct, answers=None) -> pd.DataFrame:
    rows = [
        {"problem_id": f"p{row}", "sample": sample, "correct": bool(value), "reason": "match" if value else "differs"}
        | {"completion": f"\\boxed{{{answers[row][sample] if answers else value}}}", "truncated": False}
        for row, values in enumerate(correct)
        for sample, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_pass_at_k_is_the_mean_over_all_choices_of_k_samples():
    correct = np.random.default_rng(0).integers(0, 2, (7, 6)).tolist()
    table = summarize_samples(samples_of(correct)).set_index("metric")
    assert table.value["avg@6"] == pytest.approx(np.mean(correct))
    assert table.value["pass@1"] == pytest.approx(np.mean(correct))
    for k in (2, 4, 6):
        chosen = [np.mean([any(c) for c in itertools.combinations(values, k)]) for values in correct]
        assert table.value[f"pass@{k}"] == pytest.approx(np.mean(chosen))
        assert table.stderr[f"pass@{k}"] == pytest.approx(np.std(chosen, ddof=1) / 7**0.5)


def test_the_majority_is_of_answers_and_ties_are_shared():
    answers = [["5", "5", "7"], ["5", "7", "8"], ["7", "7", "5"]]
    correct = [[a == "5" for a in row] for row in answers]
    table = summarize_samples(samples_of(correct, answers)).set_index("metric")
    assert table.value["maj@3"] == pytest.approx((1 + 1 / 3 + 0) / 3)


def test_golds_that_cannot_be_read_count_as_wrong_unless_left_out():
    samples = samples_of([[1], [1], [0]])
    samples.loc[2, "reason"] = "unparseable_gold"
    assert summarize_samples(samples).value[0] == pytest.approx(2 / 3)
    assert summarize_samples(samples, skip_unparseable_golds=True)[["value", "n"]].iloc[0].tolist() == [1, 2]
    with pytest.raises(InputError, match="none of the 1 gold answers can be read; leave out --skip-unparseable-golds"):
        summarize_samples(samples[samples.reason == "unparseable_gold"], skip_unparseable_golds=True)


def test_every_benchmark_is_a_task_of_plain_lm_eval_with_the_suites_prompt(tmp_path):
    for name, benchmark in BENCHMARKS.items():
        rows = [{"question": "What is 1 + 1?", "answer": "2", "id": name}]
        if benchmark.files:
            (tmp_path / f"{benchmark.files[0]}.json").write_text(json.dumps(rows))
    manager = TaskManager(include_defaults=False, include_path=str(TASKS), metadata={"data_dir": str(tmp_path)})
    group = manager.load(["gainrl"])["tasks"]
    assert {name.removeprefix("gainrl_") for name in group} == PAPER
    alone = manager.load([f"gainrl_{name}" for name in GENERATED])["tasks"]
    for name, task in {**group, **alone}.items():
        family = problem_sets.FAMILIES.get(name.removeprefix("gainrl_"))
        prompt = Prompt() if family is None else family.prompt
        assert task.config.description == prompt.system
        task.build_all_requests(
            apply_chat_template=True, fewshot_as_multiturn=True, chat_template=lambda history, **_: json.dumps(history)
        )
        if name.removeprefix("gainrl_") not in GENERATED:
            (request,) = task.instances
            assert json.loads(request.args[0]) == Prompt().messages("What is 1 + 1?")
            assert task.process_results(request.doc, [["\\boxed{2}", "\\boxed{3}"]])["accuracy"] == 0.5
            assert task.process_results(request.doc, ["\\boxed{2}"])["accuracy"] == 1


@pytest.mark.skipif(not SHARED.exists(), reason="the benchmarks' questions are not beside this checkout")
@pytest.mark.parametrize("name", sorted(PAPER))
def test_the_real_benchmarks_load_from_a_folder(name):
    problems = load_benchmark(name, SHARED)
    sizes = {"math500": 500, "aime24": 30, "amc23": 83, "gsm8k": 1319, "olympiadbench": 675, "minervamath": 272}
    assert len(problems) == sizes[name]
    assert len(load_benchmark(name, SHARED, limit=3)) == 3


def test_a_folder_without_the_file_and_an_unknown_name(tmp_path):
    with pytest.raises(InputError, match="benchmark math500: .* holds none of math500.json, math500.jsonl"):
        load_benchmark("math500", tmp_path)
    for name in ("math500", "arithmetic", "mbpp"):
        with pytest.raises(InputError, match="none is not a folder"):
            load_benchmark(name, tmp_path / "none")
    with pytest.raises(InputError, match="unknown benchmark 'math'; valid: aime24, amc23"):
        load_benchmark("math", tmp_path)


def test_a_limit_is_at_most(tmp_path):
    (tmp_path / "aime24.json").write_text(json.dumps([{"problem": f"{n}?", "answer": str(n)} for n in range(3)]))
    assert [len(load_benchmark("aime24", tmp_path, limit=limit)) for limit in (2, 3, 40, None)] == [2, 3, 3, 3]


def test_every_end_token_ends_a_completion(tiny):
    tiny.model.generation_config.eos_token_id = [7, 9]
    assert end_tokens(tiny.model.config, tiny.model.generation_config, tiny.tokenizer) == [
        tiny.tokenizer.eos_token_id,
        7,
        9,
    ]
    backend = hf_backend(tiny.model, tiny.tokenizer)
    for completion in backend([[6, 8, 10]] * 20, max_tokens=40, temperature=1.0, seed=0):
        assert completion.truncated == (completion.ids[-1] not in backend.end_tokens)
        assert not set(completion.ids[:-1]) & set(backend.end_tokens)


GROUPED = {"intermediate_size": 64, "num_key_value_heads": 2, "head_dim": 8}
FAMILIES = {
    "qwen2": GROUPED,
    "llama": GROUPED,
    "gpt2": {},
    "gpt_neox": {},
    "mistral": {**GROUPED, "sliding_window": None},
    "mistral, window": {**GROUPED, "sliding_window": 8},
    "qwen2, window": {**GROUPED, "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
    "gemma2, window": {**GROUPED, "sliding_window": 8},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_that_begins_alike_is_answered_as_its_prompts_are_alone(family, monkeypatch):
    monkeypatch.setattr(hf._RoomyLayer, "ROOM", 3)  # so that it is used up twice in eight tokens
    small = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    ends = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
    config = AutoConfig.for_model(family.split(",")[0], **small, **ends, **FAMILIES[family], initializer_range=0.5)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    backend = HfBackend(model, [1], 0)
    own = ([20], [21, 22], list(range(30, 42)), [9])
    prompts = [[*range(3, 3 + alike), *rest] for alike in (5, 7) for rest in own]
    assert hf.shared_tokens(prompts) == 5
    assert hf.keeps_whole_cache(model) == ("window" not in family)
    plain = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": 1, "pad_token_id": 0}
    written = [model.generate(torch.tensor([prompt]), **plain)[0, len(prompt) :].tolist() for prompt in prompts]
    alone = [backend._cut(ids) for ids in written]
    assert [backend([prompt], max_tokens=8, temperature=0, seed=0)[0] for prompt in prompts] == alone
    assert backend(prompts, max_tokens=8, temperature=0, seed=0) == alone
    assert len({tuple(one.ids) for one in alone}) > 2  # random weights, but not one answer for all


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_models_own_generation_settings_change_nothing(tiny, temperature):
    backend = hf_backend(tiny.model, tiny.tokenizer)
    prompts = [[6, 8, 10 + row] for row in range(20)]
    plain = backend(prompts, max_tokens=12, temperature=temperature, seed=0)
    theirs = tiny.model.generation_config
    theirs.update(top_p=0.1, top_k=1, temperature=0.01, repetition_penalty=9.0, min_new_tokens=12)
    assert backend(prompts, max_tokens=12, temperature=temperature, seed=0) == plain
    assert tiny.model.generation_config is theirs


class FakeLLM:
    """vLLM's engine as far as it is used: every completion is ``written``."""

    written = SimpleNamespace(token_ids=[3, 4, 7], finish_reason="stop")

    def __init__(self, **settings):
        self.settings = settings

    def generate(self, inputs, settings, use_tqdm):
        self.inputs, self.sampling = inputs, settings
        return [SimpleNamespace(outputs=[self.written]) for _ in inputs]


@pytest.fixture
def fake_vllm(monkeypatch):
    importlib.import_module("gainrl.launch")  # TRL looks for vLLM when it is imported
    module = ModuleType("vllm")
    module.LLM, module.SamplingParams = FakeLLM, SimpleNamespace
    monkeypatch.setitem(sys.modules, "vllm", module)
    for name in ("VLLM_LOGGING_LEVEL", "VLLM_LOGGING_STREAM", "VLLM_CPU_KVCACHE_SPACE"):
        monkeypatch.setenv(name, "")  # so that what is set by default is taken back
    return module


def test_vllm_is_asked_for_plain_sampling_in_the_given_type_and_context(fake_vllm):
    backend = VllmBackend("folder", [7, 9], 256, "bfloat16", max_num_seqs=3)
    completions = backend([[1, 2], np.array([5])], max_tokens=8, temperature=0.5, seed=40)
    assert completions == [Completion([3, 4, 7], False)] * 2
    settings = backend.engine.settings
    assert [settings[key] for key in ("model", "dtype", "max_model_len", "generation_config", "max_num_seqs")] == [
        "folder", "bfloat16", 256, "vllm", 3
    ]  # fmt: skip
    assert backend.engine.inputs == [{"prompt_token_ids": [1, 2]}, {"prompt_token_ids": [5]}]
    assert [one.seed for one in backend.engine.sampling] == [40, 41]
    first = backend.engine.sampling[0]
    assert (first.temperature, first.top_p, first.top_k, first.max_tokens) == (0.5, 1.0, 0, 8)
    assert first.stop_token_ids == [7, 9]
    assert first.stop_token_ids is not backend.end_tokens
    backend([[1]], max_tokens=8, temperature=0.0, seed=40)
    assert backend.engine.sampling[0].seed is None


def test_vllms_finish_reasons_are_told_apart(fake_vllm, monkeypatch):
    backend = VllmBackend("folder", [7, 9], 256, "float32")

    def finish(ids, reason):
        monkeypatch.setattr(FakeLLM, "written", SimpleNamespace(token_ids=ids, finish_reason=reason))
        return backend([[1]], max_tokens=3, temperature=0.0, seed=0)

    assert finish([3, 3, 3], "length") == [Completion([3, 3, 3], True)]
    assert finish([3, 3, 9], "stop") == [Completion([3, 3, 9], False)]
    for ids, reason in (([3], "abort"), ([3], "stop")):
        with pytest.raises(RuntimeError, match=f"a completion of 1 tokens finished by '{reason}', no end token"):
            finish(ids, reason)


def test_a_model_that_vllm_cannot_serve_is_one_line(fake_vllm, folder, monkeypatch, capsys):
    def refuses(**settings):
        raise ValueError("context of 256 tokens:\n  too long")

    fake_vllm.LLM = refuses
    arguments = ("--tasks", "arithmetic", "--limit", "2", "--out", "e", "--backend", "vllm")
    code, _, err = gainrl(monkeypatch, capsys, "evaluate", "model", *arguments)
    assert code == 2
    assert err.splitlines()[-1] == "gainrl: vLLM cannot serve model: ValueError: context of 256 tokens: too long"


def test_an_engine_that_fails_in_the_middle_is_one_line_and_what_is_finished_is_kept(
    folder,
    monkeypatch,
    capsys,
    fake_vllm,
):
    calls = []

    def fails_once(self, inputs, settings, use_tqdm):
        calls.append(len(inputs))
        if len(calls) == 3:
            raise RuntimeError("EngineCore died:\nsee above")
        return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=[3], finish_reason="length")]) for _ in inputs]

    monkeypatch.setattr(FakeLLM, "generate", fails_once)
    monkeypatch.setattr(benchmarks, "CHUNK", 4)
    arguments = ("evaluate", "model", "--tasks", "arithmetic", "--limit", "10", "--out", "e", "--backend", "vllm")
    code, _, err = gainrl(monkeypatch, capsys, *arguments)
    assert code == 2
    assert err.splitlines()[-1] == (
        "gainrl: the vllm backend failed: RuntimeError: EngineCore died: see above; "
        "finished problems are kept, and the same command resumes with the others"
    )
    kept = (folder / "e" / "arithmetic.unfinished").read_text().splitlines()
    assert [len(json.loads(line)) for line in kept] == [4, 4]
    assert gainrl(monkeypatch, capsys, *arguments)[0] == 0
    assert calls == [4, 4, 2, 2]
    assert len(pd.read_parquet(folder / "e" / "arithmetic.parquet")) == 10


def test_evaluate_writes_samples_and_evals(folder, monkeypatch, capsys):
    rows = [{"question": f"What is {n} + 1?", "answer": n + 1} for n in range(9)]
    (folder / "gsm8k.json").write_text(json.dumps(rows))
    (folder / "aime24.json").write_text(json.dumps(rows[:3]))
    arguments = ("evaluate", "model", "--tasks", "gsm8k,aime24", "--data-dir", ".", "--out", "e")
    code, out, err = gainrl(monkeypatch, capsys, *arguments, "--samples", "2", "--max-completion-tokens", "3")
    assert code == 0
    evals = [json.loads(line) for line in (folder / "e" / "evals.jsonl").read_text().splitlines()]
    assert [(row["benchmark"], row["metric"], row["n"]) for row in evals] == [
        (name, metric, n)
        for name, n in (("gsm8k", 9), ("aime24", 3))
        for metric in ("avg@2", "pass@1", "pass@2", "maj@2")
    ]
    assert len(pd.read_parquet(folder / "e" / "gsm8k.parquet")) == 18
    assert "| gsm8k" in out
    assert "gsm8k: 100.0 % of the answers were cut off" in err


def test_evaluate_keeps_the_rows_of_other_benchmarks(folder, monkeypatch, capsys):
    def evaluate(tasks, tokens):
        arguments = ("evaluate", "model", "--out", "e", "--limit", "1", "--max-completion-tokens", tokens)
        code, _, err = gainrl(monkeypatch, capsys, *arguments, "--tasks", tasks)
        rows = [json.loads(line) for line in (folder / "e" / "evals.jsonl").read_text().splitlines()]
        return code, err, [row["benchmark"] for row in rows]

    assert evaluate("arithmetic,lists", "1")[2] == ["arithmetic", "lists"]
    code, err, rows = evaluate("mixture,arithmetic", "2")
    assert (code, rows) == (2, ["arithmetic", "lists"])
    assert "e holds arithmetic with other settings (max_completion_tokens differ)" in err
    assert not (folder / "e" / "mixture.json").exists()
    assert evaluate("mixture", "2")[2] == ["arithmetic", "lists", "mixture"]
    assert evaluate("lists", "1")[2] == ["arithmetic", "mixture", "lists"]
    (folder / "e" / "evals.jsonl").write_text("[1]\n")
    code, _, err = gainrl(monkeypatch, capsys, "evaluate", "model", "--out", "e", "--tasks", "skills")
    assert (code, err.splitlines()[-1]) == (2, "gainrl: e/evals.jsonl: has a row that is no JSON object")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--tasks", "gsm"), "unknown benchmark 'gsm'; valid: aime24"),
        (("--tasks", "gsm8k", "--data-dir", "."), "holds none of gsm8k.json"),
        (("--tasks", "arithmetic", "--limit", "2", "--backend", "vllm"), "vLLM is not installed; pip install"),
        (("--tasks", "arithmetic", "--limit", "2", "--samples", "2", "--temperature", "0"), "2 greedy samples"),
        (
            ("--tasks", "arithmetic", "--limit", "2", "--max-completion-tokens", "999"),
            "with 999 reserved for the completion",
        ),
    ],
)
def test_what_evaluate_cannot_use_is_one_line(folder, monkeypatch, capsys, arguments, message):
    code, _, err = gainrl(monkeypatch, capsys, "evaluate", "model", "--out", "e", *arguments)
    assert code == 2
    assert message in err
