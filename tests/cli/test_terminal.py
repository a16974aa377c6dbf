"""What reaches the terminal: text, a line of it where it is a message, and never a traceback."""

import io
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.table import Table

from dynbench.cli import COMMANDS, main
from dynbench.cli.console import SafeConsole
from dynbench.cli.terminal import DEBUG, LONGEST, as_message, printable
from dynbench.errors import describe, did_you_mean
from tests.conftest import Call, _Program

EVIL = "a\x1b[2J\x1b]0;title\x07[red]b[/x]\u202e\ud800:smile:\r\n"


def test_what_a_terminal_obeys_is_written_out() -> None:
    assert printable(EVIL) == r"a\x1b[2J\x1b]0;title\x07[red]b[/x]\u202e\ud800:smile:\r" + "\n"
    assert printable("ü 漢字 ±\tx\n") == "ü 漢字 ±\tx\n"


def test_a_console_prints_text_as_it_is() -> None:
    shown = io.StringIO()
    console = SafeConsole(file=shown, width=200, force_terminal=True, color_system="truecolor")
    table = Table(title="[/x]", box=None)
    table.add_column("[b]c")
    table.add_row(EVIL.strip())
    console.print(table)
    console.print(EVIL, soft_wrap=True)
    text = shown.getvalue()
    assert "\x1b[2J" not in text
    assert "\x07" not in text
    for part in ("[red]b[/x]", r"\x1b[2J", "[b]c", "[/x]", ":smile:", r"\u202e"):
        assert part in text


def test_a_message_is_one_line_that_can_be_read() -> None:
    assert as_message("a\n  b\r\nc\u2028d") == "a b c d"
    long = as_message("x" * 50_000 + "end")
    assert len(long) < LONGEST + 60
    assert long.endswith("xend")
    assert "(49,003 characters more)" in long
    assert len(did_you_mean("x" * 10_000_000, ["dense"])) < 100


def test_an_exception_in_words_whatever_it_says() -> None:
    class BadError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert describe(BadError()) == "BadError: (what it says cannot be read)"
    assert describe(ValueError("a\nb")) == "ValueError: a b"
    assert describe(KeyboardInterrupt()) == "KeyboardInterrupt"
    assert len(describe(ValueError("x" * 10_000_000))) < 1100


def broken(*_: object, **__: object) -> None:
    raise ZeroDivisionError("nobody foresaw\nthis")


def test_an_error_that_nobody_foresaw_is_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(DEBUG, raising=False)
    monkeypatch.setattr("dynbench.cli.commands.sync.sync", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = CliRunner().invoke(_Program("dynbench"), ["sync", "x"])
    assert result.exit_code == 2
    (kept,) = tmp_path.glob("dynbench-*.traceback")
    assert result.stderr == (
        f"error: ZeroDivisionError: nobody foresaw this (traceback in {kept}; DYNBENCH_DEBUG=1 shows it)\n"
    )
    assert "in broken" in kept.read_text()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    result = CliRunner().invoke(_Program("dynbench"), ["sync", "x"])
    assert "(its traceback could not be written; DYNBENCH_DEBUG=1 shows it)" in result.stderr


def test_it_is_shown_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEBUG, "1")
    monkeypatch.setattr("dynbench.cli.commands.sync.sync", broken)
    with pytest.raises(ZeroDivisionError):
        main(["sync", "x"])


@pytest.mark.parametrize("name", COMMANDS)
def test_a_wrong_argument_is_told_without_what_it_obeys(name: str, call: Call) -> None:
    result = call(name, "--\x1b[2Jx", "a", "b", "c", "d")
    assert result.exit_code == 2
    assert "\x1b" not in result.stderr
    assert result.stderr.startswith(f"Usage: dynbench {name}")
