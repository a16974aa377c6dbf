"""Records against a baseline: every configuration of it, then what it does not have."""

from collections.abc import Iterator, Mapping, Sequence

from dynbench.check.baseline import Baseline, BaselineConfiguration, BaselinePoint, BaselineRun
from dynbench.check.compared import ComparedRuns, by_identity, differences
from dynbench.check.judges import OF_POINTS, OF_RUNS
from dynbench.check.make import run_of, title
from dynbench.check.outcome import CheckResult, Finding, Pair, PointPair, Verdict
from dynbench.errors import UserError
from dynbench.plan.configuration import identity_key
from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import Record
from dynbench.suite.rules import Rule

RUNS = "runs"
"""Subject of what is about all runs of a configuration and no metric; of one it is its seed."""
NEAR = 3
"""Differences that the nearest of the other configurations may have to be named."""


def check(results: ResultsFolder, records: Sequence[Record], baseline: Baseline, rules: Sequence[Rule]) -> CheckResult:
    """Judge `records`, which lie in `results`, by `rules`. Raises UserError when they cannot be compared at all."""
    if not rules:
        raise UserError("no rules: neither the baseline nor a suite or --rule says what is to be compared")
    if not baseline.configurations:
        raise UserError("the baseline holds no runs: nothing to compare")
    found = by_identity(records)
    _check_same_data(baseline, found)
    known = {identity_key(configuration.identity) for configuration in baseline.configurations}
    others = [configuration for name, configuration in found.items() if name not in known]
    findings = [
        finding
        for configuration in baseline.configurations
        for finding in _findings(results, configuration, found.get(identity_key(configuration.identity)), others, rules)
    ]
    return CheckResult(tuple(findings), tuple(_extras(baseline, found)), tuple(_notes(findings, rules)))


def _check_same_data(baseline: Baseline, found: Mapping[str, ComparedRuns]) -> None:
    before = {configuration.identity["data"]["name"] for configuration in baseline.configurations}
    now = {configuration.identity["data"]["name"] for configuration in found.values()}
    if not before & now:
        raise UserError(f"the results are on {_listed(now)}, the baseline on {_listed(before)}: nothing to compare")


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


def _findings(
    results: ResultsFolder,
    baseline: BaselineConfiguration,
    found: ComparedRuns | None,
    others: Sequence[ComparedRuns],
    rules: Sequence[Rule],
) -> Iterator[Finding]:
    """What is not there or not sound, then the comparisons of what is."""
    if found is None:
        yield Finding(baseline.title, "", RUNS, Verdict.MISSING, f"not in the results{_nearest(baseline, others)}")
        return
    sound = {}
    for run in baseline.runs:
        yield from _problems(baseline, run, found)
        if run.seed in found.records and found.records[run.seed].status == "finished":
            sound[run.seed] = run
    if sound:
        after = {seed: run_of(results, found.records[seed]) for seed in sound}
        yield from _compared(Pair(baseline, sound, after), rules)


def _problems(baseline: BaselineConfiguration, run: BaselineRun, found: ComparedRuns) -> Iterator[Finding]:
    """Of one seed."""
    record = found.records.get(run.seed)

    def problem(verdict: Verdict, reason: str, point: str = "") -> Finding:
        return Finding(baseline.title, point, f"seed {run.seed}", verdict, reason)

    if run.seed in found.doubtful:
        yield problem(Verdict.UNJUDGED, found.doubtful[run.seed])
    if record is None:
        yield problem(Verdict.MISSING, "not in the results")
    elif record.status == "failed":
        yield problem(Verdict.FAILED, record.error or "no reason recorded")
    else:
        points = {point.name: point for point in record.points}
        for before in run.points:
            point = points.get(before.name)
            if point is None:
                yield problem(Verdict.MISSING, f"no operating point {before.name}", before.name)
            elif before.audited and not point.audited:
                yield problem(Verdict.UNAUDITED, "simulated or not audited; the baseline was audited", before.name)


def _nearest(baseline: BaselineConfiguration, others: Sequence[ComparedRuns]) -> str:
    """Of the same method, what is there instead: it is often the same with one setting changed."""
    apart = [differences(baseline.identity, other.identity) for other in others if _same_method(baseline, other)]
    nearest = min(apart, key=len, default=None)
    return f"; there is one with {', '.join(nearest)}" if nearest and len(nearest) <= NEAR else ""


def _same_method(baseline: BaselineConfiguration, other: ComparedRuns) -> bool:
    return bool(baseline.identity.get("method") == other.run.method)


def _compared(pair: Pair, rules: Sequence[Rule]) -> Iterator[Finding]:
    points = [found for name in pair.configuration.point_names if (found := _point_pair(pair, name)) is not None]
    findings = [
        *(OF_RUNS[metric](pair, rule) for rule in rules if (metric := rule.metric.name) in OF_RUNS),
        *(OF_POINTS[metric](p, rule) for p in points for rule in rules if (metric := rule.metric.name) in OF_POINTS),
    ]
    yield from (finding for finding in findings if finding is not None)


def _point_pair(pair: Pair, name: str) -> PointPair | None:
    """Of the seeds that have the point on both sides; None: there is none."""
    sides = [{seed: run.point(name) for seed, run in side.items()} for side in (pair.before, pair.after)]
    seeds = [seed for seed in pair.before if all(side[seed] for side in sides)]
    before, after = (_chosen(side, seeds) for side in sides)
    return PointPair(pair, name, before, after) if seeds else None


def _chosen(side: Mapping[int, BaselinePoint | None], seeds: Sequence[int]) -> dict[int, BaselinePoint]:
    return {seed: point for seed in seeds if (point := side[seed]) is not None}


def _extras(baseline: Baseline, found: Mapping[str, ComparedRuns]) -> Iterator[str]:
    """Configurations, seeds and operating points that the baseline does not have."""
    known = {identity_key(configuration.identity): configuration for configuration in baseline.configurations}
    for name, configuration in found.items():
        if name not in known:
            yield f"{title(configuration.run)}: not in the baseline"
            continue
        seeds = {run.seed for run in known[name].runs}
        yield from (f"{known[name].title}: seed {seed}" for seed in configuration.records if seed not in seeds)
        points = dict.fromkeys(p.name for record in configuration.records.values() for p in record.points)
        yield from (f"{known[name].title}: point {p}" for p in points if p not in known[name].point_names)


def _notes(findings: Sequence[Finding], rules: Sequence[Rule]) -> Iterator[str]:
    subjects = {finding.subject for finding in findings}
    for rule in rules:
        if rule.metric.name not in subjects:
            yield f"{rule.metric.name}: nothing could be compared by this rule"
    if any(finding.verdict is Verdict.BETTER for finding in findings):
        yield "better than the baseline: make a new one to keep it so"
