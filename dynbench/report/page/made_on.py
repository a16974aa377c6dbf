"""What the results were made on, by which code and command, and how to cite them."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dynbench.analysis.analysis import Analysis
from dynbench.analysis.words import byte_size
from dynbench.record.machine import Machine
from dynbench.record.schema import Record


@dataclass(frozen=True)
class MadeOn:
    """Machine and code that some of the records share: names and values to show, and how many runs it is of."""

    runs: int
    facts: tuple[tuple[str, str], ...]


def made_on(records: Sequence[Record]) -> tuple[MadeOn, ...]:
    """Return each combination of machine, commit and command, in the order of the records."""
    groups: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[f"{record.machine.model_dump_json()} {record.commit} {record.command} {record.plugin}"].append(record)
    return tuple(MadeOn(len(group), tuple(_facts(group[0]))) for group in groups.values())


def _facts(record: Record) -> Iterator[tuple[str, str]]:
    machine = record.machine
    yield "command", record.command
    yield "commit", record.commit
    yield "methods from", record.plugin
    yield "device", f"{machine.device_name} ({machine.device}), training in {machine.precision}"
    yield "processor", f"{machine.cpu}, {machine.cores} cores, {machine.threads} threads"
    yield "memory", byte_size(machine.memory_bytes)
    yield "system", machine.system
    yield "versions", _versions(machine)


def _versions(machine: Machine) -> str:
    named = [f"Python {machine.python}", *(f"{name} {version}" for name, version in machine.versions.items())]
    return ", ".join([*named, f"CUDA {machine.cuda}"] if machine.cuda else named)


def finished_on(found: Analysis) -> str:
    """Return the day of the last record, by the records' own clock: `2026-03-01`."""
    return datetime.fromtimestamp(max(record.finished for record in found.records), UTC).date().isoformat()


def bibtex(found: Analysis) -> str:
    """Return a BibTeX entry of these results."""
    suites = ", ".join(dict.fromkeys(record.run.suite for record in found.records))
    commits = ", ".join(dict.fromkeys(record.commit for record in found.records))
    versions = ", ".join(dict.fromkeys(record.machine.versions.get("dynbench", "unknown") for record in found.records))
    fields = (
        ("title", f"dynbench: results of the suite {suites}"),
        ("author", "{The dynbench developers}"),
        ("year", finished_on(found)[:4]),
        ("version", versions),
        ("note", f"commit {commits}; made {finished_on(found)}"),
    )
    inside = ",\n".join(f"  {name} = {{{value if name == 'author' else _tex(value)}}}" for name, value in fields)
    return f"@misc{{dynbench,\n{inside}\n}}"


def _tex(text: str) -> str:
    """Where TeX takes letters for commands, they are letters again. Braces would end the field."""
    plain = "".join(letter for letter in text if letter not in "{}\\")
    return "".join(f"\\{letter}" if letter in "#$%&_" else letter for letter in plain)
