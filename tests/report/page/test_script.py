"""The page's script, by node: its syntax, and what it works out without a page."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dynbench.report.page.page import ASSETS
from dynbench.report.page.palette import SHAPES

HERE = Path(__file__).parent
SCRIPT = ASSETS / "page.js"
LONGEST = 480
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="there is no node here to run the page's script")


def node(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(NODE), *arguments], capture_output=True, text=True, check=False)


@needs_node
def test_the_script_is_javascript() -> None:
    done = node("--check", str(SCRIPT))
    assert done.returncode == 0, done.stderr


@needs_node
def test_what_it_works_out() -> None:
    done = node("--test", str(HERE / "script.test.js"))
    assert done.returncode == 0, done.stdout
    assert re.search(r"pass [1-9]", done.stdout), "node ran no test"


def test_it_puts_nothing_into_the_page_as_markup() -> None:
    """The lint of what matters here: no text becomes markup or code, nothing is asked of a server, nothing is kept."""
    text = SCRIPT.read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|ContextualFragment", text)
    assert not re.search(r"\beval\b|new Function", text)
    assert not re.search(r"fetch\(|XMLHttpRequest|WebSocket|sendBeacon|import\(|Worker|Storage|indexedDB|cookie", text)
    assert '"use strict";' in text
    assert not re.search(r"\bvar\b|[^=!]==[^=]|!=[^=]", text)  # let and const; nothing is equal after a conversion


def test_it_can_be_read() -> None:
    lines = SCRIPT.read_text().splitlines()
    assert len(lines) <= LONGEST
    assert max(map(len, lines)) <= 180


def test_it_has_as_many_shapes_as_the_palette_hands_out() -> None:
    shapes = SCRIPT.read_text().partition("const SHAPES = [")[2].partition("];")[0]
    assert len([line for line in shapes.splitlines() if line.strip()]) == SHAPES
