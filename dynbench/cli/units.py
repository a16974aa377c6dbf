"""Numbers for people."""


def size(count: int) -> str:
    """Bytes as `312 kB`, `1.24 GB`: of 1,000."""
    return f"{macs(count)}B"


def macs(value: float) -> str:
    """`40.6 M`, `0.555 G`, `192 `: three digits, a space and an SI prefix, for `MACs` to follow."""
    prefixes = ("", "k", "M", "G", "T", "P", "E")
    scale = 0
    while abs(value) >= 999.5 and scale + 1 < len(prefixes):  # noqa: PLR2004  (where three digits become four)
        value /= 1000
        scale += 1
    return f"{value:.3g} {prefixes[scale]}"


def duration(seconds: float) -> str:
    """`42 s`, `3 min`, `2 h 05 min`, `1,234 h`."""
    minute, hour, many = 60, 3600, 360_000
    if seconds < minute:
        return f"{seconds:.0f} s"
    if seconds < hour:
        return f"{seconds / minute:.0f} min"
    if seconds >= many:
        return f"{seconds / hour:,.0f} h"
    return f"{int(seconds // hour)} h {int(seconds % hour // minute):02d} min"
