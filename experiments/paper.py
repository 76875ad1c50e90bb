"""The values of the paper and of its release's scripts, each with its source. Experiments are built from them."""

SPEED_UP = "more than 2.5x"
"""Training acceleration of GAIN-RL over vanilla GRPO. Source: abstract of arXiv 2506.02281."""
DATA_EFFICIENCY = "better than vanilla GRPO on all data with half of the data"
"""Source: abstract of arXiv 2506.02281."""
LISTING = (
    "training steps to target accuracy: GSM8K 220, MATH500 180, MinervaMath 220, AMC23 240, mean of six benchmarks 193; "
    "GSM8K accuracy 90.1 (avg@8), AMC 2023 68.4 (avg@8)"
)
"""Source: the paper's public benchmark listing, which does not say which model or which row a value belongs to."""

SIGMA = 1000.0
ALPHA = 2.0
BETA = 0.5
AMPLITUDE = 500.0
"""All four: the release's configuration, the same in both of its trainers. AMPLITUDE replaces the paper's n/2."""
LARGEST_DRAW = 1024
"""Prompts per draw in the release's DeepScaleR scripts, which use that AMPLITUDE."""
EPOCHS = 200
"""In all scripts of the release; its sampler gives one draw per epoch."""
EVALUATE_EVERY = 5
"""Draws, in the release's verl scripts."""
GENERATIONS = 8
"""Rollouts per prompt, in all scripts of the release."""
LEARNING_RATE = 1e-6
"""In all scripts of the release, constant."""
KL = 0.001
"""In the release's verl scripts, with the low-variance estimator, which is TRL's; its TRL script has 0.005."""
MINI_BATCH = 256
"""Prompts per optimizer step, in all scripts of the release."""
