"""Test-only: a shaped reward whose correctness comes by chance, so that a model without any skill has pass rates."""

UNGRADABLE = "no grader survives this"


def compute_score(data_source, solution_str, ground_truth, extra_info=None, **_):
    if ground_truth == UNGRADABLE:
        raise RuntimeError("the grader died")
    words = solution_str.split()
    numbers = sum(word.isdigit() for word in words)
    return {"score": numbers / (len(words) + 1) + 0.5, "acc": float(numbers % 2)}
