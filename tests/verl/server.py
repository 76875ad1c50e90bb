"""Test-only: a rollout server of verl's that writes completions with transformers, in an actor of its own."""

import asyncio
import os

import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from transformers import AutoModelForCausalLM
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica, TokenOutput

from tests.verl.launch import KEEP_OLD_WEIGHTS

LARGEST_BATCH = 128


def _name(rank: int) -> str:
    return f"transformers_server_{rank}"


@ray.remote(num_cpus=0)
class Server:
    """All sequences that are asked for at the same time are written together, by the weights that `take` was given last."""

    def __init__(self, path, response_length):
        torch.set_num_threads(1)
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        self.response_length, self.step = response_length, 0
        self.asked, self.at_work = [], None

    async def take(self, weights, step):
        found = self.model.load_state_dict(weights, strict=False)
        assert not found.unexpected_keys, found
        assert set(found.missing_keys) <= {"lm_head.weight"}, found  # tied to the embeddings
        self.step = step

    async def generate(self, request_id, *, prompt_ids, sampling_params, **_):
        settings = sampling_params.get("temperature", 1.0), sampling_params.get("max_tokens") or self.response_length
        answer = asyncio.get_running_loop().create_future()
        self.asked.append((settings, list(prompt_ids), answer))
        if self.at_work is None or self.at_work.done():
            self.at_work = asyncio.ensure_future(self._write_all())
        ids, logps = await answer
        return TokenOutput(
            token_ids=ids, log_probs=logps, stop_reason="completed", extra_fields={"global_steps": self.step}
        )

    async def _write_all(self):
        while self.asked:
            await asyncio.sleep(0.02)  # in which the other requests of a step arrive
            settings, alike, others = self.asked[0][0], [], []
            for request in self.asked:
                (alike if request[0] == settings and len(alike) < LARGEST_BATCH else others).append(request)
            self.asked = others
            try:
                everything = self._write([ids for _, ids, _ in alike], *settings)
            except Exception as error:  # whoever asked must not wait for ever
                for _, _, answer in alike:
                    answer.set_exception(error)
                raise
            for (_, _, answer), written in zip(alike, everything, strict=True):
                answer.set_result(written)

    @torch.no_grad()
    def _write(self, prompts, temperature, limit):
        longest, ends = max(map(len, prompts)), self.model.config.eos_token_id
        inputs = torch.tensor([[ends] * (longest - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        written, cache = [([], []) for _ in prompts], None
        while any(len(ids) < limit and ids[-1:] != [ends] for ids, _ in written):
            positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -inputs.shape[1] :]
            output = self.model(
                inputs, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
            )
            logp_BV = torch.log_softmax(output.logits[:, -1].float() / (temperature or 1.0), -1)
            tokens_B1 = torch.multinomial(logp_BV.exp(), 1) if temperature else logp_BV.argmax(-1, keepdim=True)
            for (ids, logps), token, logp_V in zip(written, tokens_B1.flatten().tolist(), logp_BV, strict=True):
                if len(ids) < limit and ids[-1:] != [ends]:
                    ids.append(token)
                    logps.append(float(logp_V[token]))
            inputs, cache = tokens_B1, output.past_key_values
            mask = torch.cat([mask, torch.ones_like(tokens_B1)], dim=1)
        return written

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
