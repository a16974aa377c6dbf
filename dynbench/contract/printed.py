"""What plugin code prints."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import TextIOBase

KEPT = 200


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
