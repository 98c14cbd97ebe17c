"""Learning-rate schedule: linear warm-up, inverse square root decay, annealing at marks."""

from collections.abc import Sequence


def learning_rate(
    step: int,
    hidden: int,
    warm_up_steps: int,
    anneal_steps: Sequence[int] = (),
    anneal_rate: float = 1.0,
    scale: float = 1.0,
) -> float:
    """Rate of optimiser step `step`, counted from 1.

    hidden^-0.5 * min(step^-0.5, step * warm_up_steps^-1.5) (Vaswani et al. 2017, section 5.3), times `anneal_rate`
    for each mark already behind (step > mark), times `scale`.
    """
    if step < 1:
        raise ValueError(f"steps count from 1, got {step}")
    passed = sum(step > mark for mark in anneal_steps)
    return scale * hidden**-0.5 * min(step**-0.5, step * warm_up_steps**-1.5) * anneal_rate**passed
