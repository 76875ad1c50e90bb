"""Test-only: a rollout server of verl's that writes completions with transformers, in an actor of its own."""

import os

import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from transformers import AutoModelForCausalLM
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica, TokenOutput

from tests.verl.launch import KEEP_OLD_WEIGHTS


def _name(rank: int) -> str:
    return f"transformers_server_{rank}"


@ray.remote(num_cpus=0)
class Server:
    """One sequence at a time; the weights are those that `take` was given last."""

    def __init__(self, path, response_length):
        torch.set_num_threads(1)
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        self.response_length, self.step = response_length, 0

    async def take(self, weights, step):
        found = self.model.load_state_dict(weights, strict=False)
        assert not found.unexpected_keys, found
        assert set(found.missing_keys) <= {"lm_head.weight"}, found  # tied to the embeddings
        self.step = step

    @torch.no_grad()
    def _write(self, prompt, temperature, limit):
        ids, logps, inputs, cache = [], [], torch.tensor([prompt]), None
        while len(ids) < limit and (not ids or ids[-1] != self.model.config.eos_token_id):
            output = self.model(inputs, past_key_values=cache, use_cache=True)
            logp_V = torch.log_softmax(output.logits[0, -1].float() / (temperature or 1.0), -1)
            token = int(torch.multinomial(logp_V.exp(), 1)) if temperature else int(logp_V.argmax())
            ids.append(token)
            logps.append(float(logp_V[token]))
            inputs, cache = torch.tensor([[token]]), output.past_key_values
        return ids, logps

    async def generate(self, request_id, *, prompt_ids, sampling_params, **_):
        limit = sampling_params.get("max_tokens") or self.response_length
        ids, logps = self._write(list(prompt_ids), sampling_params.get("temperature", 1.0), limit)
        return TokenOutput(
            token_ids=ids, log_probs=logps, stop_reason="completed", extra_fields={"global_steps": self.step}
        )

    async def _nothing(self, *_, **__):
        return None

    wake_up = sleep = abort_all_requests = resume_generation = clear_kv_cache = _nothing
    release_kv_cache = resume_kv_cache = _nothing


class Replica(RolloutReplica):
    """The server of one rank, on the rank's node."""

    async def launch_servers(self):
        (worker,) = self.workers
        node = await worker.__ray_call__.remote(lambda _: ray.get_runtime_context().get_node_id())
        self._server_handle = Server.options(
            name=_name(self.replica_rank), scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
        ).remote(self.model_config.path, self.config.response_length)
        self.servers, self._server_address = [self._server_handle], _name(self.replica_rank)


class Adapter(BaseRollout):
    """The side of the training process: hands the weights on."""

    async def resume(self, tags):
        return None

    async def release(self):
        return None

    async def update_weights(self, weights, global_steps=None, **_):
        pairs = [pair async for pair in weights] if hasattr(weights, "__aiter__") else weights
        named = {name: tensor.detach().float().cpu().clone() for name, tensor in pairs}
        if not (os.environ.get(KEEP_OLD_WEIGHTS) and global_steps):
            server = ray.get_actor(_name(int(os.environ["RANK"])))
            await server.take.remote(named, global_steps)
