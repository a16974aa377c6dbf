"""The one way to the terminal: whatever is printed is text, whatever its source.

Names of methods, points and files, errors of plugins and what records say are other people's. None of it moves the
cursor, colours the screen or is taken for markup; a message is one line of a length that can be read.
"""

import io
import os
import re
import sys
import tempfile
import traceback
from pathlib import Path

import click

from dynbench.errors import describe, shortened

DEBUG = "DYNBENCH_DEBUG"
"""Set to 1, an error that nobody foresaw is shown with its traceback."""
LONGEST = 1000
"""Characters of a message."""

UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal may obey: control characters but tab and the end of a line, and those that turn the direction of
writing; and halves of characters, which cannot be encoded."""


def printable(text: str) -> str:
    r"""Return `text` with what a terminal may obey written out, as `\x1b`."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def say(text: str, err: bool = False, nl: bool = True) -> None:
    """Print `text`, several lines of it perhaps, to the standard output, or with `err` to the standard error.

    With `nl` it ends its line.
    """
    click.echo(printable(text), err=err, nl=nl)


def complain(error: BaseException | str) -> None:
    """Print what the user has to fix: one line on the standard error."""
    say(f"error: {as_message(str(error))}", err=True)


def as_message(text: str) -> str:
    """Return `text` without ends of lines, and its middle left out where it is long."""
    return shortened(re.sub(r"\s*[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+\s*", " ", text.strip()), LONGEST)


def encode_anything() -> None:
    """Have the standard streams write out what their encoding does not have, in place of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def unforeseen(error: Exception) -> None:
    """Print one line about an error that is no UserError, and where its traceback is."""
    complain(f"{as_message(describe(error))} ({_kept(error)}; {DEBUG}=1 shows it)")


def debugging() -> bool:
    """Say whether errors are to be shown with their tracebacks."""
    return os.environ.get(DEBUG, "") not in {"", "0"}


def _kept(error: Exception) -> str:
    """Write the traceback to a file of its own; returns where."""
    try:
        handle, name = tempfile.mkstemp(prefix="dynbench-", suffix=".traceback")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write("".join(traceback.format_exception(error)))
    except Exception:  # a full disk, say: the error itself matters more
        return "its traceback could not be written"
    return f"traceback in {Path(name)}"
