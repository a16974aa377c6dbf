"""rich's console, kept from taking other people's text for more than text.

`terminal` does so without rich, which takes a while to import.
"""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import TextColumn
from rich.segment import Segment

from dynbench.cli.terminal import UNPRINTABLE, printable


class SafeConsole(Console):
    """Prints text as it is.

    No markup, no emoji codes, no guessed colours, and nothing that a terminal may obey but what rich writes.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as rich does, with what a terminal may obey written out."""
        for segment in super().render(renderable, options):
            unsafe = not segment.control and UNPRINTABLE.search(segment.text)
            yield Segment(printable(segment.text), segment.style) if unsafe else segment


def plain_column(pattern: str) -> TextColumn:
    """Return a column of a progress display. What is filled into `pattern` is text."""
    return TextColumn(pattern, markup=False)
