"""What plugin code does besides computing: which files it opens, what it prints."""

import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from io import TextIOBase
from pathlib import Path

MODULES = {".py", ".pyc", ".pyi", ".so", ".pyd", ".dll", ".dylib"}
KEPT = 200


@dataclass
class Opened:
    """Files that were opened, by absolute path, each with the frames that opened it first. `among`: only these."""

    among: frozenset[str] | None = None
    paths: dict[str, list[traceback.FrameSummary]] = field(default_factory=dict)

    def note(self, path: str) -> None:
        absolute = str(Path(path).absolute())
        if absolute not in self.paths and (self.among is None or absolute in self.among):
            self.paths[absolute] = list(traceback.extract_stack())


_watching: list[Opened] = []


@contextmanager
def opened_files(among: frozenset[str] | None = None) -> Iterator[Opened]:
    """Notes the files, modules apart, that Python code opens meanwhile. What compiled code opens by itself stays
    unseen."""
    _listen()
    opened = Opened(among)
    _watching.append(opened)
    try:
        yield opened
    finally:
        _watching.remove(opened)


@cache
def _listen() -> None:
    """Once a process: Python never removes an audit hook."""
    sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    if event != "open" or not _watching or not isinstance(arguments[0], str | bytes | os.PathLike):
        return
    path = os.fsdecode(arguments[0])
    if Path(path).suffix not in MODULES:
        for opened in tuple(_watching):
            opened.note(path)


class Printed(TextIOBase):
    """Counts what is written, and keeps its beginning."""

    def __init__(self) -> None:
        self.characters, self.beginning = 0, ""

    def write(self, text: str) -> int:
        self.characters += len(text)
        self.beginning += text[: KEPT - len(self.beginning)]
        return len(text)


@contextmanager
def printed_text() -> Iterator[Printed]:
    """Takes what Python code prints meanwhile; warnings are not shown. What compiled code prints goes its way."""
    printed = Printed()
    with redirect_stdout(printed), redirect_stderr(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield printed
