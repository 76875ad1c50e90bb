"""Runs by verl, without verl: the config that it gets, the problems as it reads them, its record as a run folder."""

import json
import signal
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from transformers import AutoTokenizer

from analysis.comparison import compare
from analysis.engines import side_by_side
from analysis.runs import Runs, finished_runs
from experiments import load_experiment
from experiments.cells import by_verl
from gainrl.errors import InputError
from gainrl.launch import Slurm
from gainrl.problems import ProblemSet
from gainrl.problems.base import Problem
from gainrl.prompts import encode_problems
from gainrl.runs import verl as settings
from gainrl.runs.config import RunConfig
from gainrl.runs.experiment import Execution, SlurmOptions
from gainrl.runs.plan import plan_runs
from gainrl.runs.records import RunFolder
from gainrl.runs.verl import PYTHON, require_supported, verl_config
from gainrl.runs.whole import require_whole
from gainrl.schedules import SCHEDULES
from gainrl.training.inputs import held_out_problems, training_problems
from gainrl.training.run import train_run
from gainrl.training.verl import cluster
from gainrl.training.verl.cluster import Cluster, own_cluster
from gainrl.training.verl.inputs import model_folder, write_schedule, write_sets
from gainrl.training.verl.process import follow, reason, started
from gainrl.training.verl.record import Record
from tests.helpers import gainrl, small_experiment
from tests.test_comparison import write_runs


def changed(run: RunConfig, **training) -> RunConfig:
    """The run by verl, sampling with vLLM, with other training settings."""
    return RunConfig.model_validate(
        {
            **run.model_dump(),
            "engine": "verl",
            "training": {**run.training.model_dump(), "generation": "vllm", **training},
        }
    )


@pytest.fixture
def run() -> RunConfig:
    return changed(load_experiment("quickstart").cells["gainrl"])


def test_the_engine_is_part_of_the_hash_and_trl_leaves_it_as_it_was(run):
    by_trl = run.model_copy(update={"engine": "trl"})
    assert "engine" not in by_trl.model_dump(mode="json")
    assert run.hash != by_trl.hash
    assert RunConfig.model_validate(json.loads(run.model_dump_json())) == run
    assert run.with_seed(3).engine == "verl"


OTHER = {
    "steps": 60, "prompts_per_step": 32, "generations": 4, "prompts_per_epoch": 32, "prompts_per_generation": 32,
    "learning_rate": 1.0, "lr_scheduler": "linear", "optimizer": "adamw_8bit", "adam_betas": (0.5, 0.6), "weight_decay": 0.5,
    "max_grad_norm": 0.5, "algorithm": "rloo", "loss": "dapo", "kl": 0.5, "temperature": 0.5, "max_completion_tokens": 20,
    "bf16": True, "generation": "transformers", "keep_every": 5,
}  # fmt: skip


@pytest.mark.parametrize("field", RunConfig.model_fields["training"].annotation.model_fields)
def test_every_training_setting_reaches_verl_or_is_refused(run, field, tmp_path):
    before, other = verl_config(run, Execution(), tmp_path), changed(run, **{field: OTHER[field]})
    try:
        after = verl_config(other, Execution(), tmp_path)
    except InputError:
        return
    before["trainer"].pop("experiment_name"), after["trainer"].pop("experiment_name")  # the hash
    assert after != before


def test_a_generation_of_several_steps_is_one_step_of_verls(run, tmp_path):
    evaluation = {"every": 20, "max_completion_tokens": 26}
    paper = changed(run, prompts_per_generation=64).model_copy(
        update={"evaluation": type(run.evaluation)(**evaluation)}
    )
    found = verl_config(paper, Execution(gpus=2, completions_per_device=16), tmp_path)
    assert found["data"]["train_batch_size"] == 64
    assert found["actor_rollout_ref"]["actor"]["ppo_mini_batch_size"] == 16
    assert found["actor_rollout_ref"]["actor"]["ppo_micro_batch_size_per_gpu"] == 16
    assert found["trainer"]["total_training_steps"] == 30
    assert found["trainer"]["save_freq"] == 5
    assert found["trainer"]["n_gpus_per_node"] == 2


@pytest.mark.parametrize(
    ("loss", "mode", "factor"),
    [("grpo", "seq-mean-token-mean", None), ("dapo", "token-mean", None), ("dr_grpo", "seq-mean-token-sum-norm", 26)],
)
def test_losses_are_averaged_as_trl_averages_them(run, loss, mode, factor, tmp_path):
    actor = verl_config(changed(run, loss=loss), Execution(), tmp_path)["actor_rollout_ref"]["actor"]
    assert (actor["loss_agg_mode"], actor["loss_scale_factor"]) == (mode, factor)


def test_the_estimator_of_the_kl_named_for_verl_has_the_gradient_of_trls():
    """TRL multiplies exp(d) - d - 1, d = log ref - log p, by the ratio to the sampler; verl's + takes d^2 / 2's gradient."""
    logp = torch.tensor([-1.0, -3.0, -0.2], requires_grad=True)
    d = torch.tensor([-2.0, -2.5, -0.1]) - logp
    ratio = torch.exp(logp - logp.detach())
    (by_trl,) = torch.autograd.grad((ratio * (d.exp() - d - 1)).sum(), logp, retain_graph=True)
    (by_verl,) = torch.autograd.grad((d.square() / 2).sum(), logp)
    torch.testing.assert_close(by_trl, by_verl)


def test_the_angle_is_read_only_for_a_schedule_that_wants_it(run, monkeypatch):
    monkeypatch.setenv("VERL_USE_EXTERNAL_MODULES", "mine")
    assert settings.environment(run)["VERL_USE_EXTERNAL_MODULES"] == "mine,gainrl.verl.plugin"
    assert settings.environment(run)["VERL_ENGINE_VENDOR"] == "gainrl"
    assert "VERL_ENGINE_VENDOR" not in settings.environment(changed(load_experiment("quickstart").cells["grpo"]))


@pytest.mark.parametrize("cell", load_experiment("main_table", "paper").cells)
def test_the_main_table_at_paper_scale_runs_on_eight_gpus_with_the_releases_settings(cell, tmp_path):
    plan = by_verl(load_experiment("main_table", "paper"), "paper")
    found = verl_config(plan.cell(cell), plan.execution_of(cell), tmp_path)
    actor, rollout = found["actor_rollout_ref"]["actor"], found["actor_rollout_ref"]["rollout"]
    assert found["trainer"]["nnodes"] * found["trainer"]["n_gpus_per_node"] == 8
    assert found["trainer"]["total_epochs"] == 200
    assert (actor["ppo_mini_batch_size"], rollout["n"], actor["optim"]["lr"]) == (256, 8, 1e-6)
    assert (actor["use_kl_loss"], actor["kl_loss_coef"], actor["kl_loss_type"]) == (True, 0.001, "low_var_kl+")
    assert rollout["name"] == "vllm"


REFUSED = {
    "RLOO": {"algorithm": "rloo"},
    "lr_scheduler cosine": {"lr_scheduler": "cosine"},
    "keep_every": {"keep_every": 5},
    "longer than in training": {"max_completion_tokens": 20},
    "between the steps of one generation": {"prompts_per_generation": 64},
    "add --generation vllm": {"generation": "transformers"},
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_verl_does_not_do_is_refused_in_one_line(run, words):
    with pytest.raises(InputError, match=words) as caught:
        require_supported(changed(run, **REFUSED[words]))
    assert "\n" not in str(caught.value)


def test_models_along_training_are_asked_of_verl_only_where_they_are_measured():
    for name, keeps in {"main_table": False, "patterns": True}.items():
        plan = load_experiment(name, "small")
        assert {run.training.keep_every is None for run in plan.cells.values()} == {False}
        assert {run.training.keep_every is None for run in by_verl(plan, "small").cells.values()} == {not keeps}


def test_schedules_that_replace_groups_or_measure_are_refused():
    plan = by_verl(load_experiment("selectors"), "tiny")
    refused = set()
    for run in plan.cells.values():
        try:
            require_supported(changed(run))
        except InputError:
            refused.add(run.schedule.name)
    schedules = {run.schedule.name for run in plan.cells.values()}
    makes = {name: SCHEDULES[name](np.linspace(0, 1, 64)) for name in schedules}
    assert refused == {name for name, made in makes.items() if made.redraws or made.measures}
    assert "dapo" in refused or "greso" in refused


def test_completions_that_cannot_be_shared_out_are_refused(run, tmp_path):
    with pytest.raises(InputError, match="128 completions per step"):
        verl_config(run, Execution(gpus=3), tmp_path)
    with pytest.raises(InputError, match="4 GPUs cannot be shared out evenly among 3 nodes"):
        verl_config(run, Execution(gpus=4, nodes=3), tmp_path)


@pytest.fixture
def small(tiny, tmp_path) -> RunConfig:
    return small_experiment(tiny, tmp_path).cells["gainrl"].model_copy(update={"engine": "verl"})


def test_verl_reads_the_prompts_that_trl_trains_on(tiny, small, tmp_path):
    problems = training_problems(small, tiny)
    held_out = {"arithmetic": held_out_problems("arithmetic", small, tiny)}
    longest = write_sets(tmp_path, "arithmetic", problems, held_out, small.prompt, tiny)
    tokenizer = AutoTokenizer.from_pretrained(model_folder(tiny, tmp_path / "models") / settings.VERL_TOKENIZER)
    encoded = encode_problems(tiny.tokenizer, problems.problems, small.prompt)
    for name, expected in (
        ("train", [encoding.ids.tolist() for encoding in encoded]),
        ("heldout-arithmetic", held_out["arithmetic"].prompts),
    ):
        table = pd.read_parquet(tmp_path / f"{name}.parquet")
        found = [
            tokenizer.apply_chat_template(list(prompt), add_generation_prompt=True, tokenize=True, return_dict=False)
            for prompt in table.prompt
        ]
        assert found == expected
        assert longest >= max(map(len, found))
    table = pd.read_parquet(tmp_path / "train.parquet")
    for row, (problem, ids, extra) in enumerate(zip(problems.problems, encoded, table.extra_info, strict=True)):
        assert (extra["index"], extra["problem_id"]) == (row, problem.problem_id)
        question = tokenizer.decode(ids.ids[extra["prefix_tokens"] : extra["question_end"]])
        assert question.replace(" ", "") == problem.question.replace(" ", "")
        assert table.reward_model[row]["ground_truth"] == problem.answer


def test_the_schedule_that_verl_builds_draws_what_trls_draws(small, tmp_path):
    schedule = SCHEDULES["gaussian"](
        np.random.default_rng(0).normal(size=12), seed=small.seed, **small.schedule.options
    )
    write_schedule(tmp_path / "schedule.parquet", schedule, [f"p{row}" for row in range(12)])
    key_N = pd.read_parquet(tmp_path / "schedule.parquet").sort_key.to_numpy()
    again = SCHEDULES["gaussian"](key_N, seed=small.seed, **small.schedule.options)
    assert again.draw(8).tolist() == schedule.draw(8).tolist()
    assert again._identity() == schedule._identity()


def test_a_prompt_with_a_token_that_only_verl_has_is_refused(tiny, small, tmp_path):
    problems = ProblemSet("lines", (Problem("broken", "1 +\n2", "3"),))
    with pytest.raises(InputError, match="prompt of broken holds a line break"):
        write_sets(tmp_path, "lines", problems, {}, small.prompt, tiny)


def append(path, rows):
    with path.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def write_record(path, config: RunConfig, rows: int = 12, *, dropped: int | None = None) -> None:
    """A record of a whole run: problem r is right in r % 3 of 2 rollouts; ``dropped`` is a row whose grading failed."""
    path.mkdir(parents=True)
    training, drawn = config.training, np.random.default_rng(0)
    per_epoch = training.prompts_per_epoch // training.prompts_per_step
    for step in range(training.steps):
        epoch, place = divmod(step, per_epoch)
        if place == 0:
            draw = drawn.choice(rows, training.prompts_per_epoch, replace=False).tolist()
            append(path / "draws.jsonl", [{"epoch": epoch, "position": k, "row": row} for k, row in enumerate(draw)])
        trained = [
            row for row in draw[place * training.prompts_per_step :][: training.prompts_per_step] if row != dropped
        ]
        rollouts = [row for row in trained for _ in range(2)]
        correct = [float(k < row % 3) for row in trained for k in range(2)]
        append(
            path / "steps.jsonl",
            [
                {
                    "step": step + 1, "epoch": epoch, "seconds": 0.5, "accuracy": float(np.mean(correct)), "rows": rollouts,
                    "correct": correct, "tokens": [3] * len(rollouts), "angles": [1.5] * len(rollouts),
                    "rollouts": len(rollouts), "completion_tokens": 3 * len(rollouts), "schedule/mu": float(step), "loss": None,
                }
            ],
        )  # fmt: skip
    for step in config.evaluation.steps(dict.fromkeys(range(training.steps + 1), 0.0), training.steps):
        append(
            path / "evaluations.jsonl",
            [
                {
                    "step": step, "benchmark": name, "metric": "accuracy", "accuracy": 0.25, "stderr": 0.16, "n": 8,
                    "truncated": 0.0, "unparseable": None, "seconds": 1.0,
                }
                for name in config.problems.heldout
            ],
        )  # fmt: skip


def record_of(path, config: RunConfig) -> Record:
    schedule = SCHEDULES["gaussian"](np.arange(12.0)[::-1], seed=0, **config.schedule.options)
    return Record(path, config, schedule, [f"p{row}" for row in range(12)])


def test_a_record_becomes_a_run_folder_on_which_tables_work(tiny, tmp_path):
    plan = by_verl(small_experiment(tiny, tmp_path), "tiny")
    for run in plan_runs(plan, cells=list(plan.cells), seeds=[0], runs_dir=tmp_path / "runs"):
        folder = RunFolder(run.path)
        folder.start(run.config)
        write_record(run.path / "verl" / "record", run.config)
        assert record_of(run.path / "verl" / "record", run.config).write(folder) == 4
        folder.finish()
        require_whole(folder)
    table = compare(plan, finished_runs(plan, tmp_path / "runs"))
    ends = table[(table.cell == "gainrl") & (table.quantity == "accuracy at end")]
    assert ends["mean"].tolist() == pytest.approx([0.25])


def test_draws_hold_what_the_rollouts_of_their_own_epoch_gave(small, tmp_path):
    write_record(tmp_path / "record", small, dropped=None)
    folder = RunFolder(tmp_path / "run")
    folder.start(small)
    record_of(tmp_path / "record", small).write(folder)
    draws, metrics = folder.draws(), folder.metrics()
    rows = draws.problem_id.str.removeprefix("p").astype(int)
    assert draws["rank"].tolist() == (11 - rows).tolist()
    assert draws.pass_rate.tolist() == (rows % 3 / 2).tolist()
    assert draws.rollouts.tolist() == [2] * 8
    assert draws.completion_tokens.tolist() == [6] * 8
    assert draws.angle.tolist() == [1.5] * 8
    assert metrics.completion_tokens.tolist() == [12, 24, 36, 48]
    assert metrics.rollouts.tolist() == [4, 8, 12, 16]
    assert metrics.problems_seen.tolist() == [2, 4, 6, 8]
    assert metrics.mu.tolist() == [0, 1, 2, 3]
    assert "loss" not in metrics


def test_a_group_that_verl_dropped_was_drawn_but_not_trained(small, tmp_path):
    first = int(np.random.default_rng(0).choice(12, 4, replace=False)[0])
    write_record(tmp_path / "record", small, dropped=first)
    folder = RunFolder(tmp_path / "run")
    folder.start(small)
    record_of(tmp_path / "record", small).write(folder)
    draws = folder.draws()
    assert len(draws) == 8
    assert draws.rollouts.isna().tolist()[0]
    assert folder.metrics().completion_tokens.tolist()[0] == 6


def test_steps_written_again_after_a_checkpoint_count_once(small, tmp_path):
    write_record(tmp_path / "record", small)
    steps = (tmp_path / "record" / "steps.jsonl").read_text().splitlines()
    (tmp_path / "record" / "steps.jsonl").write_text("\n".join([*steps[:3], *steps[2:], '{"step": 5, "epo']))
    folder = RunFolder(tmp_path / "run")
    folder.start(small)
    assert record_of(tmp_path / "record", small).write(folder) == 4
    assert folder.metrics().step.tolist() == [1, 2, 3, 4]


def test_a_generation_of_two_steps_gives_two_rows(small, tmp_path):
    training = small.training.model_copy(update={"prompts_per_generation": 4})
    config = small.model_copy(update={"training": training})
    line = {"epoch": 0, "seconds": 4.0, "accuracy": 0.5, "rows": [1] * 8, "correct": [0.0] * 8, "tokens": [1] * 8,
            "completion_tokens": 8, "rollouts": 8, "schedule/mu": 7.0}  # fmt: skip
    (tmp_path / "record").mkdir()
    append(tmp_path / "record" / "steps.jsonl", [{"step": 2, **line}, {"step": 4, **line}])
    folder = RunFolder(tmp_path / "run")
    folder.start(config)
    assert record_of(tmp_path / "record", config).write(folder) == 4
    metrics = folder.metrics()
    assert metrics.step.tolist() == [1, 2, 3, 4]
    assert metrics.problems_seen.tolist() == [4, 4, 8, 8]
    assert metrics.accuracy.isna().tolist() == [False, True, False, True]
    assert metrics.seconds.sum() == 8.0


def test_a_damaged_record_is_one_clear_line(small, tmp_path):
    (tmp_path / "record").mkdir()
    (tmp_path / "record" / "steps.jsonl").write_text('{"epoch": 0}\n')
    with pytest.raises(InputError, match=r"steps\.jsonl, row 1: step are needed|step is needed"):
        record_of(tmp_path / "record", small).write(RunFolder(tmp_path / "run"))


def test_a_process_is_ended_when_it_is_to_end_and_so_is_what_it_started(tmp_path):
    program = "import subprocess, sys, time; subprocess.Popen(['sleep', '60']); print('on', flush=True); time.sleep(60)"
    log = tmp_path / "log.txt"
    with started([sys.executable, "-c", program], {}, log) as process:
        assert follow(process, lambda: "on" in log.read_text()) is None
    assert process.returncode == -signal.SIGTERM
    with started([sys.executable, "-c", "import sys; sys.exit(3)"], {}, log) as process:
        assert follow(process, lambda: False) == 3


LOG = """\
\x1b[36m(TaskRunnerV1 pid=29782)\x1b[0m INFO: training
ray.exceptions.RayTaskError(InputError): \x1b[36mray::TaskRunnerV1.run()\x1b[39m (pid=1)
  File "somewhere.py", line 1, in require
gainrl.errors.InputError: gainrl.prompts_per_epoch is 3, no multiple of data.train_batch_size 2
"""


def test_the_plugins_refusal_is_told_as_the_suites_own(tmp_path):
    (tmp_path / "log.txt").write_text(LOG)
    with pytest.raises(InputError, match="^gainrl.prompts_per_epoch is 3"):
        reason(tmp_path / "log.txt", 0)
    (tmp_path / "log.txt").write_text("\x1b[36m(Worker pid=7)\x1b[0m ValueError: too small\n[a@b] ended\n")
    assert reason(tmp_path / "log.txt", 0) == "ValueError: too small"
    assert reason(tmp_path / "log.txt", 60) == "no error in its log"
    (tmp_path / "log.txt").write_text("KeyError: 'a'\nValueError: no keys\n")
    assert reason(tmp_path / "log.txt", 0) == "ValueError: no keys (the first error: KeyError: 'a')"


def test_without_verls_environment_the_run_fails_with_what_to_do(small, tmp_path, monkeypatch):
    execution = Execution(verl_options=("actor_rollout_ref.rollout.name=transformers",))
    monkeypatch.setenv(PYTHON, str(tmp_path / "none"))
    with pytest.raises(InputError, match="which is no file; name the python of verl's environment"):
        train_run(small, tmp_path / "run", tmp_path, lambda *_: None, execution=execution)
    assert RunFolder(tmp_path / "run").status()[0] == "failed"
    monkeypatch.setenv(PYTHON, sys.executable)
    with pytest.raises(InputError, match="finds no verl; make verl installs"):
        train_run(small, tmp_path / "run", tmp_path, lambda *_: None, execution=execution)


def test_several_nodes_need_a_job_of_as_many_tasks(small, tmp_path, monkeypatch):
    monkeypatch.delenv("SLURM_NTASKS", raising=False)
    with own_cluster(small, Execution(gpus=2), "python", tmp_path) as ray:
        assert ray is None
    with (
        pytest.raises(InputError, match="takes 2 nodes, this is a job of 1"),
        own_cluster(small, Execution(gpus=2, nodes=2), "python", tmp_path),
    ):
        pass


def test_slurm_is_asked_for_a_task_a_node(tiny, tmp_path):
    plan = by_verl(small_experiment(tiny, tmp_path), "tiny")
    (run,) = plan_runs(plan, cells=["grpo"], seeds=[0], runs_dir=tmp_path)
    several = replace(run, execution=Execution(gpus=16, nodes=2))
    asked = Slurm(SlurmOptions(cpus=4))._parameters(several)
    assert (asked["nodes"], asked["ntasks_per_node"], asked["gpus_per_node"], asked["cpus_per_task"]) == (2, 1, 8, 32)
    assert "nodes" not in Slurm(SlurmOptions())._parameters(run)


def test_a_node_joins_the_ray_of_its_own_job_alone(tmp_path, monkeypatch):
    (tmp_path / "verl").mkdir()
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    ray = Cluster("10.0.0.1:6379", "secret")
    cluster._tell(tmp_path / "verl" / "ray.json", ray)
    assert (tmp_path / "verl" / "ray.json").stat().st_mode & 0o777 == 0o600
    assert cluster._told(tmp_path) == ray
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")  # requeued: the file is from the attempt before
    assert cluster._told(tmp_path) is None
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert cluster.is_further_node(Execution(gpus=2, nodes=2))
    assert not cluster.is_further_node(Execution(gpus=2))


def test_a_dry_run_prints_the_whole_config_and_command(monkeypatch, capsys):
    code, out, _ = gainrl(
        monkeypatch, capsys, "reproduce", "quickstart", "--engine", "verl", "--generation", "vllm", "--dry-run"
    )
    assert code == 0
    assert out.count("python -m verl.trainer.main_ppo --config-dir") == 4
    text = out.split("# grpo seed 0\n")[1].split("# the command")[0]
    found = yaml.safe_load(text)
    assert found["gainrl"]["schedule"]["name"] == "uniform"
    assert found["trainer"]["v1"]["trainer_mode"] == "gainrl"


def test_show_prints_both_engines_settings(monkeypatch, capsys):
    code, out, _ = gainrl(monkeypatch, capsys, "show", "main_table", "--cell", "math-7b-gainrl", "--scale", "paper")
    assert code == 0
    assert "training.learning_rate               1e-06" in out
    assert "kl_loss_coef: 0.001" in out
    code, out, _ = gainrl(monkeypatch, capsys, "show", "algorithms", "--cell", "rloo-uniform")
    assert code == 0
    assert "Not by verl: --engine verl does not do RLOO" in out


def test_verls_options_are_refused_with_trl(monkeypatch, capsys):
    code, _, err = gainrl(monkeypatch, capsys, "train", "quickstart", "--cell", "grpo", "--verl-options", "a=b")
    assert code == 2
    assert "are verl's; add --engine verl" in err


def test_both_engines_stand_side_by_side(tmp_path, short_experiments, monkeypatch, capsys):
    experiment = write_runs(tmp_path / "runs", 1)
    faster = {"grpo": (0.3, 0.7)}
    write_runs(tmp_path / "runs" / "verl", 1, curves=faster)
    table = side_by_side(
        experiment, finished_runs(experiment, tmp_path / "runs"), finished_runs(experiment, tmp_path / "runs" / "verl")
    )
    assert table.cell.tolist() == ["grpo", "grpo"]  # the only cell that both have
    assert table.engine.tolist() == ["trl", "verl"]
    assert table["accuracy at end, %"].tolist() == ["75.0", "70.0"]
    assert table["same first draw"].tolist()[1] == "yes"
    assert table["distance in the first 10 steps, points"].tolist()[1] == "0.0"
    assert gainrl(monkeypatch, capsys, "engines", "quickstart")[1].startswith("| cell")
    with pytest.raises(InputError, match="no cell of quickstart has a seed by both engines"):
        side_by_side(experiment, finished_runs(experiment, tmp_path / "runs"), Runs())
