"""Tiny models: Qwen2 or Llama architecture and a word-level tokenizer made on the spot, warmed up on a sloppy teacher.

The teacher's mistakes are structured (carries are forgotten, ones are not looked at), so the converged base has a defect that
GRPO can mend; a warm-up that is only stopped half-way has none, and GRPO goes nowhere from there.
"""

import hashlib
import re
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from gainrl.files import made_once
from gainrl.models import TinyRecipe
from gainrl.models.supervised import supervise
from gainrl.problems import FAMILIES
from gainrl.problems.family import Family
from gainrl.progress import Progress
from gainrl.rng import torch_seed

_ROLES = ("system", "user", "assistant")
_SPECIAL = ["<|pad|>", "<|unk|>", "<|end|>", *(f"<|{role}|>" for role in _ROLES)]
_ARCHITECTURES = {"qwen2": (Qwen2Config, Qwen2ForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM)}
_CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_tiny_model(recipe: TinyRecipe, seed: int, cache: Path, progress: Progress | None = None) -> Path:
    """The folder of the warmed-up model, from the cache if it is there and whole, made now if not.

    The cache's key is a hash of recipe, prompt, tokenizer and seed.
    """
    tokenizer = tiny_tokenizer(recipe.problems)
    prompt = FAMILIES[recipe.problems].prompt
    parts = [recipe.model_dump_json(), prompt.hash, tokenizer.backend_tokenizer.to_str(), _CHAT_TEMPLATE, str(seed)]
    folder = cache / f"tiny-{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:12]}"

    def make(work: Path) -> None:
        if progress is not None:
            progress(0, recipe.steps)
        warm_up(recipe, tokenizer, seed, progress).save_pretrained(work)
        tokenizer.save_pretrained(work)

    return made_once(folder, make)


def tiny_tokenizer(problems: str = "arithmetic") -> PreTrainedTokenizerFast:
    """One token a word, a punctuation mark or an integer (`Family.token`); the words are those of a family and its prompt."""
    family = FAMILIES[problems]
    texts = [*(message["content"] for message in family.prompt.messages("")), *family.texts]
    words = sorted({word for text in texts for word in re.findall(family.token, text) if not word.isdigit()})
    vocabulary = [*_SPECIAL, *map(str, range(family.largest_number + 1)), *words]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(vocabulary)}, unk_token="<|unk|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(family.token), behavior="removed", invert=True)
    if any("\n" in word for word in words):  # lines begin without the space that stands between tokens
        spaced = decoders.WordPiece(prefix="\0", cleanup=False)
        tokenizer.decoder = decoders.Sequence([spaced, decoders.Fuse(), decoders.Replace("\n ", "\n")])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        unk_token="<|unk|>",
        eos_token="<|end|>",
        additional_special_tokens=_SPECIAL[3:],
    )
    fast.chat_template = _CHAT_TEMPLATE
    return fast


def random_tiny_model(recipe: TinyRecipe, tokenizer: PreTrainedTokenizerFast, seed: int) -> PreTrainedModel:
    """The recipe's architecture with seeded random weights."""
    config_class, model_class = _ARCHITECTURES[recipe.architecture]
    config = config_class(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.kv_heads,
        max_position_embeddings=recipe.context,
        tie_word_embeddings=True,
        initializer_range=recipe.initializer_range,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(seed, "tiny weights"))
        model = model_class(config)
        _share_digits(model.get_input_embeddings().weight, FAMILIES[recipe.problems])
    return model


@torch.no_grad()
def _share_digits(embedding_VD: torch.Tensor, family: Family) -> None:
    """Start the integers' embeddings as tens plus ones, so that addition or comparison is learnt in minutes, not hours."""
    numbers, digits, width = (
        torch.arange(family.largest_number + 1),
        family.largest_number // 10 + 10,
        embedding_VD.shape[1],
    )
    tens_ones = torch.randn(2, digits, width) * embedding_VD.std() / 2**0.5
    if family.compares:
        size = torch.arange(digits)[:, None] / 4.5 - 1  # -1 to 1 for the digits 0 to 9
        tens_ones += torch.randn(2, 1, width) * embedding_VD.std() / 2**0.5 * size
    embedding_VD[len(_SPECIAL) + numbers] = tens_ones[0, numbers // 10] + tens_ones[1, numbers % 10]


def warm_up(
    recipe: TinyRecipe, tokenizer: PreTrainedTokenizerFast, seed: int, progress: Progress | None = None
) -> PreTrainedModel:
    """Supervised training on the sloppy teacher's solutions, with the suite's own prompt, on the CPU."""
    family, size = FAMILIES[recipe.problems], recipe.steps * recipe.batch_size
    examples = family.sloppy_examples(seed, size, recipe.forget, recipe.slip)
    rows = [
        {"prompt": family.prompt.messages(problem.question), "completion": [{"role": "assistant", "content": solution}]}
        for problem, solution in examples
    ]
    model = random_tiny_model(recipe, tokenizer, seed)
    supervise(
        model,
        tokenizer,
        rows,
        steps=recipe.steps,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        ramp_steps=recipe.ramp_steps,
        longest=recipe.context,
        seed=torch_seed(seed, "tiny warm-up"),
        progress=progress,
    )
    return model
