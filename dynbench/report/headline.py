"""The table that a README shows: results, what the papers quote beside them, and which of their claims hold."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from dynbench.analysis.claims import Claim, claims
from dynbench.analysis.literature import Quoted
from dynbench.analysis.summary import ConfigurationRecords, PointSummary, Setting, configurations
from dynbench.analysis.words import accuracy, setting_title, short_macs
from dynbench.errors import UserError
from dynbench.files import write_atomically
from dynbench.record.schema import Record
from dynbench.report.tables import HEADERS, TEXT_COLUMNS, markdown_table, one_line, result_rows

END = "<!-- /dynbench table -->"
_START = re.compile(r"^<!-- dynbench table (\S+) -->$", re.MULTILINE)


def replace_tables(path: Path, table: Callable[[Path], str]) -> tuple[Path, ...]:
    """Put `table(folder)` into every marked place of the file at `path`; folders are relative to the file's. Returns
    the folders. Raises UserError when there is no such place, or one has no end."""
    try:
        text = path.read_text()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    folders = tuple(path.parent / found for found in _START.findall(text))
    write_atomically(path, replaced(text, path, table).encode())
    return folders


def replaced(text: str, path: Path, table: Callable[[Path], str]) -> str:
    """`text`, of the file at `path`, with its tables. Raises UserError as `replace_tables`."""
    if not _START.search(text):
        raise UserError(f'{path} has no line "<!-- dynbench table FOLDER -->"; put one, and "{END}" below it')
    pieces, at = [], 0
    for start in _START.finditer(text):
        end = text.find(END, start.end())
        following = _START.search(text, start.end())
        if end < 0 or (following and following.start() < end):
            line = text.count("\n", 0, start.start()) + 1
            raise UserError(f'{path}:{line}: this table has no end; put "{END}" below it')
        pieces.append(f"{text[at : start.end()]}\n\n{table(path.parent / start[1])}\n")
        at = end
    return "".join([*pieces, text[at:]])


QUOTED_FIGURES = ("quoted top-1 %", "quoted MACs")


def headline(records: Sequence[Record], rows: Sequence[Quoted]) -> str:
    """Markdown of every setting: title, table, on what it was made, claims. `rows` are quoted ones."""
    known = configurations(records)
    settings = dict.fromkeys(configuration.setting for configuration in known)
    return "\n\n".join(part for setting in settings for part in _headline_setting(setting, known, rows)) + "\n"


def _headline_setting(setting: Setting, known: Sequence[ConfigurationRecords], rows: Sequence[Quoted]) -> list[str]:
    chosen = [configuration for configuration in known if configuration.setting == setting]
    found = claims(setting, chosen, rows)
    parts = [f"**{one_line(setting_title(setting, chosen))}**", _headline_table(chosen, found), _made_on(chosen)]
    return [*parts, "\n".join(map(_sentence, found))] if found else parts


def _headline_table(chosen: Sequence[ConfigurationRecords], found: Sequence[Claim]) -> str:
    quoted = {(point.configuration.key, point.name): claim.quoted for claim in found for point in claim.points}
    headers = (*HEADERS, *(QUOTED_FIGURES if found else ()))
    table = []
    for configuration in chosen:
        names = [point.name for point in configuration.points]
        # One that failed has a row and no points.
        for row, name in zip(result_rows(configuration), names or [""], strict=True):
            table.append((*row, *_figures(quoted.get((configuration.key, name)))))
    return markdown_table(headers, table, TEXT_COLUMNS)


def _figures(quoted: Quoted | None) -> tuple[str, ...]:
    return () if quoted is None else (f"{quoted.top1:.2f}", short_macs(quoted.macs))


def _made_on(chosen: Sequence[ConfigurationRecords]) -> str:
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
