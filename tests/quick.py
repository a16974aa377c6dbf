"""`tox -e quick`: the tests of what an hour's work touches, for a minute and a half.

Touched is what git says differs from the commit where the work left the main branch, or from the last commit. Its tests
are those of the folder or file that mirrors it, changed tests first. What there is no time left for is skipped, and
said to be: `tox` runs everything.
"""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ALWAYS = "tests/project/test_house.py"
SECONDS = 90.0
SOURCES = {"dynbench": "tests", "methods/dynbench_methods": "tests/methods"}
"""Folders, and where their tests are."""


class Budget:
    """A plugin of pytest: tests that would begin after `seconds` are skipped."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Skip the test when the time is over."""
        if time.monotonic() > self._end:
            pytest.skip("no time left in a quick run")


def changed() -> list[str]:
    """Return the files that differ from where the work began, new ones too, relative to the repository."""
    base = _git("merge-base", "HEAD", "origin/main") or ["HEAD"]
    if base == _git("rev-parse", "HEAD") and not _git("status", "--porcelain"):
        base = ["HEAD~1"]  # nothing is touched: the tests of the last commit
    return [*_git("diff", "--name-only", *base), *_git("ls-files", "--others", "--exclude-standard")]


def _git(*arguments: str) -> list[str]:
    """The lines that a command prints; none when it fails."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.split("\n")[:-1] if done.returncode == 0 else []


def chosen_tests(files: Sequence[str], root: Path = ROOT) -> list[str]:
    """Return the tests of the changed `files`: those that are tests themselves, then their mirrors."""
    own = [file for file in files if file.startswith("tests/") and Path(file).name.startswith("test_")]
    mirrors = [mirror for file in files for mirror in _mirrors(Path(file), root)]
    return [one for one in dict.fromkeys([*own, ALWAYS, *mirrors]) if (root / one).exists()]


def _mirrors(file: Path, root: Path) -> Iterator[str]:
    """Files of tests that are called like it or its folder, then the rest of the folder that mirrors its own."""
    for source, tests in SOURCES.items():
        if file.is_relative_to(source):
            name, *_ = file.relative_to(source).parts
            folder = Path(tests, name) if (root / tests / name).is_dir() else Path(tests)
            for stem in (file.stem, name):
                yield from sorted(str(path.relative_to(root)) for path in (root / folder).rglob(f"test_{stem}.py"))
            if folder != Path("tests"):
                yield str(folder)


def main(arguments: Sequence[str]) -> int:
    """Run them; `arguments` go to pytest."""
    chosen = chosen_tests(changed())
    print("tests of what differs:", *chosen)
    return int(pytest.main([*chosen, *arguments], plugins=[Budget(SECONDS)]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
