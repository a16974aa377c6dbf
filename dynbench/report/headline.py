"""The table that a README shows: results, what the papers quote beside them, and which of their claims hold."""

from collections.abc import Iterable, Sequence

from dynbench.record import Record
from dynbench.report.claims import Claim, claims
from dynbench.report.literature import Quoted
from dynbench.report.markdown import HEADERS, TEXT_COLUMNS, result_rows
from dynbench.report.markdown_table import markdown_table, one_line
from dynbench.report.summary import Configuration, PointSummary, Setting, configurations
from dynbench.report.words import accuracy, setting_title, short_macs

QUOTED_HEADERS = ("quoted top-1 %", "quoted MACs")


def headline(records: Sequence[Record], rows: Sequence[Quoted]) -> str:
    """Markdown of every setting: title, table, on what it was made, claims. `rows` are quoted ones."""
    known = configurations(records)
    settings = dict.fromkeys(configuration.setting for configuration in known)
    return "\n\n".join(part for setting in settings for part in _setting(setting, known, rows)) + "\n"


def _setting(setting: Setting, known: Sequence[Configuration], rows: Sequence[Quoted]) -> list[str]:
    chosen = [configuration for configuration in known if configuration.setting == setting]
    found = claims(setting, chosen, rows)
    parts = [f"**{one_line(setting_title(setting, chosen))}**", _table(chosen, found), _made_on(chosen)]
    return [*parts, "\n".join(map(_sentence, found))] if found else parts


def _table(chosen: Sequence[Configuration], found: Sequence[Claim]) -> str:
    quoted = {(point.configuration.key, point.name): claim.quoted for claim in found for point in claim.points}
    headers = (*HEADERS, *(QUOTED_HEADERS if found else ()))
    table = []
    for configuration in chosen:
        names = [point.name for point in configuration.points]
        # One that failed has a row and no points.
        for row, name in zip(result_rows(configuration), names or [""], strict=True):
            table.append((*row, *_figures(quoted.get((configuration.key, name)))))
    return markdown_table(headers, table, TEXT_COLUMNS)


def _figures(quoted: Quoted | None) -> tuple[str, ...]:
    return () if quoted is None else (f"{quoted.top1:.2f}", short_macs(quoted.macs))


def _made_on(chosen: Sequence[Configuration]) -> str:
    """Hardware, versions and seeds of the finished runs."""
    records = [record for configuration in chosen for record in configuration.finished]
    machines = [record.machine for record in records]
    seeds = sorted({record.run.seed for record in records})
    devices = _each(f"{m.device_name} ({m.device.split(':')[0]}, {m.cores} CPU cores)" for m in machines)
    versions = _each(
        f"PyTorch {m.versions.get('torch', 'unknown')}{f', CUDA {m.cuda}' if m.cuda else ''}" for m in machines
    )
    trained = f"Trained in {_each(m.precision for m in machines)} on {devices}, {versions}"
    return one_line(f"{trained}; {_count(len(seeds), 'seed')}: {', '.join(map(str, seeds))}.") if records else ""


def _each(texts: Iterable[str]) -> str:
    return " or ".join(sorted(set(texts)))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _sentence(claim: Claim) -> str:
    row = claim.quoted
    asked = f"{row.top1:.2f} % at {short_macs(row.macs)} MACs"
    return one_line(f"- {row.label}, {row.place}: {asked}: **{claim.verdict}**{_why(claim)}.")


def _why(claim: Claim) -> str:
    """The best point within the quoted cost, or the cheapest of all."""
    if not claim.points:
        return ""
    if claim.affordable:
        return f"; the best here at that cost is {_point(claim.affordable[0])}"
    return f"; nothing here is so cheap: {_point(min(claim.points, key=lambda point: point.macs.mean))}"


def _point(point: PointSummary) -> str:
    reached = f"{accuracy(point.test_top1)} % at {short_macs(point.macs.mean)}, {_count(point.test_top1.n, 'seed')}"
    return f"{point.configuration.run.label}, {point.name}: {reached}"
