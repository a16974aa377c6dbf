"""What was found, in words: one sentence, how each point stands against its controls, what became of papers' claims."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dynbench.analysis.analysis import Analysis
from dynbench.analysis.claims import Claim
from dynbench.analysis.controls import Comparison
from dynbench.analysis.names import Names
from dynbench.analysis.standing import Standing
from dynbench.analysis.summary import PointSummary
from dynbench.analysis.words import accuracy, compared_names, control_name, over_seeds, p_values, short_macs
from dynbench.report.page.rows import Badge

SEEDS = 3
"""Fewer make no claim."""
SHOWN = 200
"""Comparisons that the page has room for; all are in table.md."""
OUTCOMES = {
    "better": Badge("better", "good"),
    "worse": Badge("worse", "bad"),
    "not shown": Badge("no difference shown", "plain"),
}
VERDICTS = {
    "met": Badge("met", "good"),
    "not met": Badge("not met", "bad"),
    "not measured": Badge("not measured", "plain"),
}


def in_a_sentence(found: Analysis) -> str:
    """Say in one sentence what was found."""
    held = [standing for standing in found.standings if standing.point]
    if found.standings and not held:
        return f"No static net of equal cost was trained to compare {_methods(found.standings)} with.{_caveat(found)}"
    if held:
        others = [standing for standing in found.standings if not standing.point]
        without = f"; no static net of equal cost was trained to compare {_methods(others)} with" if others else ""
        return f"{_beaten(held)}{without}.{_caveat(found)}"
    if not found.points:
        return "Every run failed."
    best = max(found.points, key=lambda point: point.test_top1.mean)
    return f"No dynamic method was run; the best static net is {_reached(best, found.names)}.{_caveat(found)}"


def _beaten(held: Sequence[Standing]) -> str:
    winners = [one for one in held if all(comparison.outcome == "better" for comparison in one.controls)]
    number = f"{len(winners) or 'None'} of {len(held)} dynamic methods" if len(held) > 1 else ""
    if not number:
        does = "does better" if winners else "is not shown to do better"
        return f"{held[0].method} {does} than every static net of its cost"
    verb = "does" if len(winners) == 1 else "do"
    which = f" ({', '.join(one.method for one in winners)})" if winners else ""
    if not winners:
        return f"{number} is shown to do better than every static net of its cost"
    return f"{number} {verb} better than every static net of equal cost{which}"


def _caveat(found: Analysis) -> str:
    """Too few seeds make no claim, and what failed is not passed over."""
    fewest = min((point.test_top1.n for point in found.points), default=0)
    parts = []
    if fewest < SEEDS:
        parts.append(f" {fewest} seed{'' if fewest == 1 else 's'}: a first look, no claim.")
    if found.failed:
        parts.append(f" {len(found.failed)} run{'' if len(found.failed) == 1 else 's'} failed.")
    return "".join(parts)


def _methods(chosen: Sequence[Standing]) -> str:
    return ", ".join(dict.fromkeys(standing.method for standing in chosen))


def _reached(point: PointSummary, names: Names) -> str:
    return (
        f"{names.whole(point.configuration.run)} with {accuracy(point.test_top1)} % at {short_macs(point.macs.mean)} "
        "MACs"
    )


@dataclass(frozen=True)
class Held:
    """A comparison as the page shows it; `low`, `middle` and `high` are in points of top-1."""

    name: str
    point: str
    control: str
    verdict: Badge
    low: float
    middle: float
    high: float
    words: str
    over_seeds: str
    p: str
    macs_ratio: str
    notes: tuple[str, ...]


def held_against(found: Analysis) -> tuple[Held, ...]:
    """Return the comparisons at equal cost, then the others; no more than `SHOWN`."""
    ordered = sorted(found.comparisons, key=lambda one: not one.matched)[:SHOWN]
    name_of = compared_names(found.comparisons)
    return tuple(_held(one, name_of(one)) for one in ordered)


def _held(one: Comparison, name: str) -> Held:
    return Held(
        name=name,
        point=one.point.name,
        control=control_name(one.control.configuration),
        verdict=OUTCOMES[one.outcome],
        low=one.low,
        middle=one.difference,
        high=one.high,
        words=f"{one.difference:+.2f} ({one.low:+.2f} to {one.high:+.2f})",
        over_seeds=over_seeds(one),
        p=p_values(one),
        macs_ratio=f"{one.macs_ratio:.2f}",
        notes=tuple(_notes(one)),
    )


def _notes(one: Comparison) -> Iterator[str]:
    if not one.matched:
        yield "not at equal cost"
    if one.trained_longer:
        yield "the control was trained longer"


@dataclass(frozen=True)
class ClaimRow:
    """A paper's claim and what became of it. `here`: the best point within its cost, or the cheapest."""

    claim: str
    source: str
    printed: str
    verdict: Badge
    here: str


def claim_rows(found: Analysis) -> tuple[ClaimRow, ...]:
    """Return every claim that something here may answer, in the order of the settings."""
    return tuple(
        ClaimRow(
            claim=f"{claim.quoted.method}, {setting.backbone} on {setting.dataset}",
            source=f"{claim.quoted.source.paper}, {claim.quoted.place}",
            printed=f"{claim.quoted.top1:.2f} % at {short_macs(claim.quoted.macs)} MACs",
            verdict=VERDICTS[claim.verdict],
            here=_here(claim, found.names),
        )
        for setting, claims in found.claims.items()
        for claim in claims
    )


def _here(claim: Claim, names: Names) -> str:
    if not claim.points:
        return ""
    if claim.affordable:
        return f"best at that cost: {_reached(claim.affordable[0], names)}"
    return f"nothing is that cheap: {_reached(min(claim.points, key=lambda point: point.macs.mean), names)}"
