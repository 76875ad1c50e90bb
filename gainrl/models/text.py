"""Small models made on the spot from a file of problems: a byte-level BPE tokenizer, and a random or briefly trained Qwen2.

For trying the suite on real questions without a hub, and for measuring the speed of a larger model's shape.
"""

from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from gainrl.models import Shape
from gainrl.models.supervised import supervise
from gainrl.problems import Problem, ProblemSet
from gainrl.progress import Progress
from gainrl.prompts import Prompt
from gainrl.rng import generator, torch_seed
from gainrl.templates import Message

_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def bpe_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE with single digits, learned from texts, with a ChatML template; at most ``vocabulary`` tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=_SPECIAL[0],
        eos_token=_SPECIAL[2],
        additional_special_tokens=_SPECIAL[1:],
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = _CHAT_TEMPLATE
    return fast


def random_model(
    shape: Shape, tokenizer: PreTrainedTokenizerFast, seed: int, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> Qwen2ForCausalLM:
    """Qwen2 architecture of a shape with seeded random weights; its vocabulary is at least the tokenizer's."""
    config = Qwen2Config(
        vocab_size=max(shape.vocabulary, len(tokenizer)),
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.context,
        tie_word_embeddings=shape.tied,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype=dtype,
    )
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(torch_seed(seed, "random weights"))
        model = Qwen2ForCausalLM._from_config(config, dtype=dtype)
    return model.eval()


def text_model(
    problems: ProblemSet,
    shape: Shape,
    *,
    vocabulary: int = 4096,
    steps: int = 0,
    batch_size: int = 16,
    learning_rate: float = 1e-3,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Qwen2ForCausalLM, PreTrainedTokenizerFast]:
    """A model and a tokenizer that know the problems alone: random weights, or ``steps`` steps of language modelling.

    The model is trained on all tokens of prompts and gold completions, cut at 512 tokens. It then knows some words of the
    questions, and solves none.
    """
    tokenizer = bpe_tokenizer([f"{p.question}\n{p.gold_completion}" for p in problems.problems], vocabulary)
    model = random_model(shape, tokenizer, seed)
    if steps:
        chosen = generator(seed, "text model").integers(len(problems), size=steps * batch_size)
        rows = [_conversation(problems.problems[row], problems.prompt) for row in chosen]
        supervise(
            model,
            tokenizer,
            rows,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            ramp_steps=steps // 20,
            longest=512,
            seed=torch_seed(seed, "text model"),
            completion_only=False,
            progress=progress,
        )
    return model, tokenizer


def _conversation(problem: Problem, prompt: Prompt) -> dict[str, list[Message]]:
    return {
        "prompt": prompt.messages(problem.question),
        "completion": [{"role": "assistant", "content": problem.gold_completion}],
    }
