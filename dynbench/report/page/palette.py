"""A colour and a shape for each method on the page, by day and by night."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dynbench.report.plots.style import method_colour

DAY, NIGHT = "#ffffff", "#15181c"
"""Behind charts, by day and by night; as page.css has them."""
CONTRAST = 3.0
"""Least ratio of a mark to what is behind it: WCAG 2.2, 1.4.11."""
SHAPES = 8
"""That page.js knows."""
STEPS = 20


@dataclass(frozen=True)
class Look:
    """How a method is drawn: colours by day and by night, number of its shape."""

    day: str
    night: str
    shape: int


def looks(methods: Iterable[str]) -> Mapping[str, Look]:
    """Return a look for each method: the plots' colour, and shapes in the order given."""
    names = list(dict.fromkeys(methods))
    return {
        name: Look(readable(method_colour(name), DAY), readable(method_colour(name), NIGHT), index % SHAPES)
        for index, name in enumerate(names)
    }


def readable(colour: str, behind: str) -> str:
    """Return `colour`, as much nearer to black or white as it takes to have `CONTRAST` to what is `behind`."""
    target = 0 if luminance(behind) > 0.5 else 255  # noqa: PLR2004
    for step in range(STEPS + 1):
        share = step / STEPS
        mixed = "#" + "".join(f"{round(part + share * (target - part)):02x}" for part in _parts(colour))
        if contrast(mixed, behind) >= CONTRAST:
            return mixed
    raise AssertionError(f"neither black nor white is seen before {behind}")


def contrast(one: str, other: str) -> float:
    """Return the ratio of two colours' luminances as WCAG 2.2 defines it: 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    """Return the relative luminance of `#rrggbb` as WCAG 2.2 defines it: 0 to 1."""
    red, green, blue = (_linear(part / 255) for part in _parts(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4  # noqa: PLR2004


def _parts(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def palette_css(chosen: Iterable[Look]) -> str:
    """Return the style rules that give classes `m0`, `m1`, ... their colours, in the order given."""
    seen = list(chosen)
    day = "".join(f".m{index}{{--mark:{look.day}}}" for index, look in enumerate(seen))
    night = "".join(f".m{index}{{--mark:{look.night}}}" for index, look in enumerate(seen))
    return f"{day}@media screen and (prefers-color-scheme:dark){{{night}}}"
