"""GitHub-flavoured tables."""

from collections.abc import Collection, Iterable, Sequence


def markdown_table(headers: Sequence[str], rows: Iterable[Sequence[str]], text: Collection[str]) -> str:
    """Columns with a header in `text` are aligned to the left, the others, of numbers, to the right."""
    rules = ["---" if header in text else "---:" for header in headers]
    padded = [(*row, *[""] * (len(headers) - len(row))) for row in rows]
    return "\n".join(f"| {' | '.join(map(one_line, row))} |" for row in (headers, rules, *padded))


def one_line(text: str) -> str:
    """`text` where a table cell can take it."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
