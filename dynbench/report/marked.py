"""Tables inside a Markdown file, between two comments of which the first names the results folder."""

import re
from collections.abc import Callable
from pathlib import Path

from dynbench.errors import UserError
from dynbench.files import write_atomically

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
