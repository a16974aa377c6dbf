"""Makes pages of Markdown that stands elsewhere in the repository: the methods' cards, CONTRIBUTING, CHANGELOG.

A link in Markdown is written so that it is right in the repository, relative to its file. `on_the_site` turns it into
one that is right in the built documentation, where some files are other pages and most are none.
"""

import os
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
CARDS = ROOT / "methods" / "dynbench_methods"
GENERATED = DOCS / "included"
"""Written when the site is built, and ignored by git."""

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|#)([^)#\s]*)(#[^)\s]*)?\)")
OTHER_PAGES = """
```{toctree}
:hidden:
:glob:

*
```
"""
"""Below the first page of a folder, so that the others are in the site's menu."""

_FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_IMAGE = re.compile(r"!\[([^\]]*)\]\((?!https?:)([^)\s]+)\)")


def included_pages() -> dict[Path, Path]:
    """Files of the repository that are pages of the site, with the place of the page."""
    cards = {card: GENERATED / "methods" / f"{card.parent.name}.md" for card in sorted(CARDS.glob("*/README.md"))}
    return {
        ROOT / "methods" / "README.md": GENERATED / "methods" / "index.md",
        **cards,
        ROOT / "CONTRIBUTING.md": GENERATED / "contributing.md",
        ROOT / "CHANGELOG.md": GENERATED / "changelog.md",
        ROOT / "README.md": DOCS / "index.md",
    }


def write_included_pages() -> None:
    """Write the pages of `included_pages` that are not pages of docs/ themselves; one that is right is left alone."""
    for source, page in included_pages().items():
        if page.is_relative_to(GENERATED):
            text = on_the_site(source.read_text(), source, page)
            text += OTHER_PAGES if page.name == "index.md" else ""
            page.parent.mkdir(parents=True, exist_ok=True)
            if not page.is_file() or page.read_text() != text:
                page.write_text(text)


def on_the_site(text: str, source: Path, page: Path) -> str:
    """Return `text`, the Markdown of the file `source`, with links and images as they have to be on `page` of the site.

    What is no page is named and not linked. Raises FileNotFoundError for a link to nothing.
    """

    def link(match: re.Match[str]) -> str:
        words, target, anchor = match[1], match[2], match[3] or ""
        place = _place(source, target)
        place = included_pages().get(place, place)
        is_page = place.suffix == ".md" and place.is_relative_to(DOCS)
        return f"[{words}]({_relative(place, page)}{anchor})" if is_page else words

    def image(match: re.Match[str]) -> str:
        return f"![{match[1]}]({_relative(_place(source, match[2]), page)})"

    parts = _FENCED.split(text)  # every second one is code
    parts[::2] = [_IMAGE.sub(image, _LINK.sub(link, part)) for part in parts[::2]]
    return "".join(parts)


def _place(source: Path, target: str) -> Path:
    place = (source.parent / target).resolve()
    if not place.exists() and not place.is_relative_to(GENERATED):
        raise FileNotFoundError(f"{source.relative_to(ROOT)} links to {target}, which does not exist")
    return place


def _relative(place: Path, page: Path) -> str:
    return Path(os.path.relpath(place, page.parent)).as_posix()
