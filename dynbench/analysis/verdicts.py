"""Whether a dynamic method beats its static controls, in words. Only controls of equal cost count."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from dynbench.analysis.controls import Comparison
from dynbench.analysis.words import compared_names, control_name, over_seeds

OUTCOMES = {"better": "better than", "worse": "worse than", "not shown": "no difference shown from"}


def verdicts(comparisons: Sequence[Comparison]) -> Iterator[str]:
    """Yield a line for each operating point that has controls of its cost.

    A method of which no point has any gets one line.
    """
    name_of = compared_names(comparisons)
    for _, group in groupby(comparisons, lambda comparison: comparison.point.configuration.key):
        found = list(group)
        label = name_of(found[0])
        matched = [comparison for comparison in found if comparison.matched]
        if not matched:
            yield f"{label}: no static control of its cost to compare it with"
        for name, of_point in groupby(matched, lambda comparison: comparison.point.name):
            point = "" if name == "default" else f", {name}"
            yield f"{label}{point}: {verdict(list(of_point))}"


def verdict(matched: Sequence[Comparison]) -> str:
    """Say whether an operating point beats the controls of its cost: `beats 1 of 2 controls: ...`."""
    beaten = sum(comparison.outcome == "better" for comparison in matched)
    return f"{_beats(beaten, len(matched))}: {', '.join(map(_detail, matched))}"


def _beats(beaten: int, controls: int) -> str:
    if controls == 1:
        return "beats its control" if beaten else "does not beat its control"
    if beaten in {0, controls}:
        both = controls == 2  # noqa: PLR2004
        every = "both controls" if both else f"all {controls} controls"
        return f"beats {every}" if beaten else f"beats {'neither control' if both else f'none of {controls} controls'}"
    return f"beats {beaten} of {controls} controls"


def _detail(comparison: Comparison) -> str:
    spread = over_seeds(comparison)
    longer = ", which was trained longer" if comparison.trained_longer else ""
    name = control_name(comparison.control.configuration)
    return f"{OUTCOMES[comparison.outcome]} {name}{f' ({spread} over seeds)' if spread else ''}{longer}"
