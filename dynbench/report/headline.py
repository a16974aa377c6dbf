"""The table that a README shows: results, what the papers quote beside them, and which of their claims hold."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from dynbench.analysis.analysis import Analysis
from dynbench.analysis.claims import Claim
from dynbench.analysis.names import Names
from dynbench.analysis.summary import ConfigurationRecords, PointSummary, Setting
from dynbench.analysis.words import accuracy, short_macs
from dynbench.errors import UserError
from dynbench.files import read_bounded, write_atomically
from dynbench.report.accuracy_tables import results_table
from dynbench.report.markdown import bullets, one_line, titled

END = "<!-- /dynbench table -->"
LARGEST_PAGE = 2**24
"""Bytes."""
_START = re.compile(r"^<!-- dynbench table (\S+) -->$", re.MULTILINE)


def replace_tables(path: Path, table: Callable[[Path], str]) -> tuple[Path, ...]:
    """Put `table(folder)` into every marked place of the file at `path`; folders are relative to the file's.

    Returns the folders. Raises UserError when there is no such place, or one has no end.
    """
    content = read_bounded(path, "page", LARGEST_PAGE)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read page {path}: {error}") from error
    folders = tuple(path.parent / found for found in _START.findall(text))
    write_atomically(path, replaced(text, path, table).encode())
    return folders


def replaced(text: str, path: Path, table: Callable[[Path], str]) -> str:
    """Return `text`, of the file at `path`, with its tables. Raises UserError as `replace_tables`."""
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


def headline(found: Analysis) -> str:
    """Markdown of every setting: title, table, on what it was made, claims."""
    return "\n\n".join(part for setting in found.settings for part in _headline_setting(found, setting)) + "\n"


def _headline_setting(found: Analysis, setting: Setting) -> Iterator[str]:
    claims = found.claims[setting]
    quoted = {(point.configuration.key, point.name): claim.quoted for claim in claims for point in claim.points}
    yield from titled(results_table(found, setting, quoted if claims else None))
    yield _made_on(found.settings[setting])
    if claims:
        yield bullets(_sentence(claim, found.names) for claim in claims)


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


def _sentence(claim: Claim, names: Names) -> str:
    row = claim.quoted
    asked = f"{row.top1:.2f} % at {short_macs(row.macs)} MACs"
    return f"{row.label}, {row.place}: {asked}: **{claim.verdict}**{_why(claim, names)}."


def _why(claim: Claim, names: Names) -> str:
    """The best point within the quoted cost, or the cheapest of all."""
    if not claim.points:
        return ""
    if claim.affordable:
        return f"; the best here at that cost is {_point(claim.affordable[0], names)}"
    return f"; nothing here is that cheap: {_point(min(claim.points, key=lambda point: point.macs.mean), names)}"


def _point(point: PointSummary, names: Names) -> str:
    reached = f"{accuracy(point.test_top1)} % at {short_macs(point.macs.mean)}, {_count(point.test_top1.n, 'seed')}"
    return f"{names.whole(point.configuration.run)}, {point.name}: {reached}"
