"""Where the authors' release departs from the paper's text, and what this suite does: for the report page."""

SOURCE = (
    "From reading github.com/wangqinsi1/GAINRL and, where it says so, from its shipped files; not from running it. "
    "The options in the last column make each departure an ablation."
)
COLUMNS = ("matter", "paper", "release", "here")
ROWS = (
    (
        "C_intra",
        "question x question",
        "the slice meant for that block takes fixed rows and all columns; prompts of 232 tokens or fewer give NaN, "
        "and NaN sort first",
        "as in the paper; definition=released repeats the release's",
    ),
    (
        "C_inter",
        "question x prefix",
        "the slice never selects the prefix block",
        "as in the paper; spans are found from the rendered tokens",
    ),
    (
        "average",
        "over all pairs",
        "over a lower triangle and its zeros: longer prompts score lower, whatever they say",
        "over all pairs; definition=off-diagonal leaves i = j out",
    ),
    (
        "shipped order of MATH, 0.5B",
        "by angle",
        "rank correlation with the length in characters 0.92 (measured on the shipped file)",
        "orders by angle, length, difficulty and at random are compared",
    ),
    (
        "draw and update",
        "draw at the updated mu",
        "one of two trainers draws at the old mu",
        "as in the paper; update=released-trl lags",
    ),
    (
        "step of mu",
        "n/2, n the size of the draw",
        "500, whatever the draw; clamped to [0, 1000]: mu never goes back",
        "n/2; amplitude and update are options",
    ),
    (
        "order within a draw",
        "-",
        "each draw is sorted by rank before it is trained: every epoch goes from the first ranks to the last",
        "as drawn",
    ),
    ("prompts while scoring", "-", "cut at 1,024 tokens", "whole"),
    ("end of the order", "not said", "mu has no bound; past the end every draw is the tail", "mu is kept in [0, N-1]"),
    (
        "accuracy term",
        "accuracy - beta",
        "one of two trainers halves the accuracy: the term can never push mu forward",
        "as in the paper; update=released-verl halves it",
    ),
    (
        "angle while training",
        "that of the probed layer",
        "layer 23 by name, another quantity in each of two trainers",
        "the same quantity and layer as in scoring",
    ),
    (
        "correctness",
        "-",
        "string equality while training, four notions of correct in evaluation",
        "one grader, math-verify, everywhere",
    ),
    ("baseline", "vanilla GRPO", "pays for the probe too, so that times are biased", "pays nothing"),
    (
        "randomness",
        "-",
        "the global generator, no seed",
        "seeded generators; seeds vary model, problems, draws and training",
    ),
)
