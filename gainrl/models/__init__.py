"""Models by name. `gainrl.models.loading` loads them; this page is the registry, and imports nothing heavy."""

from pydantic import BaseModel, ConfigDict


class TinyRecipe(BaseModel):
    """Everything that decides a tiny model's weights, but for the seed."""

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


TINY_RECIPES: dict[str, TinyRecipe] = {"tiny": TinyRecipe()}

HUB_MODELS: dict[str, str] = {
    "qwen2.5-0.5b-instruct": "Qwen/Qwen2.5-0.5B-Instruct",
    "qwen2.5-math-1.5b-instruct": "Qwen/Qwen2.5-Math-1.5B-Instruct",
    "qwen2.5-math-7b-instruct": "Qwen/Qwen2.5-Math-7B-Instruct",
    "llama-3.2-3b-instruct": "meta-llama/Llama-3.2-3B-Instruct",
    "qwen2.5-coder-3b-instruct": "Qwen/Qwen2.5-Coder-3B-Instruct",
}
MODELS: list[str] = [*TINY_RECIPES, *HUB_MODELS]
