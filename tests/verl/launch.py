"""Test-only: verl's command on a CPU, run to its end or killed on the way."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
KEEP_OLD_WEIGHTS = "TEST_KEEP_OLD_WEIGHTS"
"""Environment variable: the rollout server is not given new weights, which a test must notice."""
REWARD = [f"reward.custom_reward_function.path={ROOT}/tests/verl/reward.py"]

ENVIRONMENT = {
    "VERL_PLATFORM": "cpu",
    "VERL_ENGINE_DEVICE": "cuda",  # only chooses the class: FSDP
    "VERL_ENGINE_VENDOR": "gainrl",
    "VERL_USE_EXTERNAL_MODULES": "tests.verl.cpu,gainrl.verl.plugin",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_register_timeout_seconds": "600",  # a busy machine is slow to import verl; Ray would start it again
    "RAY_worker_niceness": "0",  # by default Ray's workers give way to everything else on the machine
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}
CPU_OVERRIDES = [
    "trainer.device=cpu",
    "actor_rollout_ref.rollout.name=transformers",
    "actor_rollout_ref.rollout.tensor_model_parallel_size=1",
    "actor_rollout_ref.rollout.calculate_log_probs=True",
    "actor_rollout_ref.rollout.agent.num_workers=1",
    "+actor_rollout_ref.model.override_config.attn_implementation=sdpa",
    "actor_rollout_ref.actor.strategy=fsdp2",
    "actor_rollout_ref.actor.use_torch_compile=False",
    "actor_rollout_ref.actor.fsdp_config.use_torch_compile=False",
    "actor_rollout_ref.actor.fsdp_config.dtype=float32",
    "+actor_rollout_ref.actor.fsdp_config.mixed_precision={param_dtype:fp32,reduce_dtype:fp32,buffer_dtype:fp32}",
    "reward.num_workers=1",
    "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
    "trainer.logger=[console]",
]
"""What a machine without an accelerator needs, for a model in 32 bits."""

VLLM_OVERRIDES = [
    "actor_rollout_ref.rollout.name=vllm",
    "actor_rollout_ref.rollout.dtype=float32",
    "actor_rollout_ref.rollout.load_format=auto",
    "actor_rollout_ref.rollout.enforce_eager=True",
    "actor_rollout_ref.rollout.free_cache_engine=False",  # vLLM sleeps on GPUs alone
    "+actor_rollout_ref.rollout.enable_sleep_mode=False",
    "actor_rollout_ref.rollout.max_model_len=136",
    "actor_rollout_ref.rollout.max_num_batched_tokens=512",
    "actor_rollout_ref.rollout.max_num_seqs=16",
    "actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes=16",
]
"""After `CPU_OVERRIDES`: completions by the CPU build of vLLM instead of `tests.verl.server`."""
VLLM_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
}


def one_machine(processes: int) -> list[str]:
    """Options for so many processes, in a Ray that verl starts."""
    return [
        "trainer.nnodes=1",
        f"trainer.n_gpus_per_node={processes}",
        "ray_kwargs.ray_init.num_cpus=16",
        f"+ray_kwargs.ray_init.num_gpus={processes}",
        "+ray_kwargs.ray_init.include_dashboard=False",
    ]


def two_nodes() -> tuple[list[str], list[str]]:
    """What stands before the command, and options: two Ray nodes on this machine, one process each."""
    return ["-m", "tests.verl.cluster"], ["trainer.nnodes=2", "trainer.n_gpus_per_node=1"]


def run_verl(
    options: list[str],
    log: Path,
    *,
    before: list[str] | None = None,
    environment: dict[str, str] | None = None,
    kill_when: Callable[[], bool] | None = None,
    seconds: float = 1800,
) -> str:
    """verl's output. With ``kill_when`` all its processes are killed as soon as that is true; else it must end well."""
    command = [sys.executable, *(before or []), "-m", "verl.trainer.main_ppo", *options]
    began, ray_folder = time.monotonic(), tempfile.mkdtemp(prefix="ray", dir="/tmp")  # sockets have short paths
    settings = {**os.environ, **ENVIRONMENT, **(environment or {}), "RAY_TMPDIR": ray_folder}
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=settings, cwd=log.parent, start_new_session=True
        )
    try:
        while process.poll() is None:
            if kill_when is not None and kill_when():
                return log.read_text()
            assert time.monotonic() - began < seconds, f"after {seconds} s: {log.read_text()[-3000:]}"
            time.sleep(0.2)
    finally:
        _kill_all(process, ray_folder)
        shutil.rmtree(ray_folder, ignore_errors=True)
    text = log.read_text()
    assert kill_when is None, f"it ended before it could be killed: {text[-3000:]}"
    assert process.returncode == 0, text[-6000:]
    return text


def _kill_all(process: subprocess.Popen, ray_folder: str) -> None:
    """Kill the command and the processes of its Ray, which live in sessions of their own and know its folder."""
    mine = [process.pid] if process.poll() is None else []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                known = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            except OSError:
                continue
            if ray_folder.encode() in known:
                mine.append(int(folder.name))
    for pid in mine:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()
