"""What a document may hold, and that whatever else it holds is refused in a line, soon."""

from pathlib import Path

import pytest

from dynbench.errors import UserError
from dynbench.suite.document import DEEPEST, MOST_VALUES
from dynbench.suite.read import LONGEST_FILE, parse_yaml, plain, read_text


def bomb(key: str, levels: int) -> str:
    """Each level is nine times the one before."""
    lines = [f"{key}0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{key}{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (bomb("a", 9), r"s.yaml:4: a3: not accepted: more than 5000 values, with all that aliases stand for"),
        (f"a: &a {'x' * 60_000}\nb: [{'*a, ' * 20}]", "s.yaml:2: b: not accepted: more than 5000 values"),
        ("a: 1\nb: &b [1, *b]", r"s.yaml:2: not valid YAML: a mapping or list that holds itself, as \*b here"),
        ("a: &a {b: {c: *a}}", r"s.yaml:1: not valid YAML: a mapping or list that holds itself, as \*a here"),
        ("a: 1\nb: " + "[" * 3000, f"s.yaml:2: not valid YAML: nested more than {DEEPEST} deep is not accepted"),
        ("[" * 40 + "]" * 40, "s.yaml:1: not valid YAML: nested more than 32 deep is not accepted"),
        ("a0: &a0 [[[[[[[[[[1]]]]]]]]]]\n" + "\n".join(f"a{n}: &a{n} [[[[[*a{n - 1}]]]]]" for n in range(1, 9)), "a5"),
        (
            "[" + "1, " * 3 * MOST_VALUES + "]",
            "s.yaml:1: not valid YAML: more than 5000 values are not accepted",
        ),
        ("a: !!set {x, y}", "s.yaml:1: not valid YAML: the tag !!set is not accepted; write the value without it"),
        ("a: !!bool x", "the tag !!bool is not accepted"),
        ("a: !!python/object:os.system x", "the tag !!python/object:os.system is not accepted"),
        ("a: &x 1\nb: &x 2", "s.yaml:2: not valid YAML: the anchor &x a second time is not accepted"),
        ("a: !mine x", "the tag !mine is not accepted"),
        ("? [a, b]\n: c", "s.yaml:1: not accepted: a list or mapping as a key"),
        ("a:\n  ? {b: c}\n  : d", "a: not accepted: a list or mapping as a key"),
        ("a: 1\n2001-01-01: b", "not accepted: a date; text like that stands in quotes"),
        ("1: a\n'1': b", 's.yaml:1: not accepted: the key "1" twice'),
        (r'a: "\ud800"', r"a: not accepted: text with the character U\+D800"),
        (r'a: {b: "x\0y"}', r"a.b: not accepted: text with the character U\+0000"),
        (r'"\e[31m": b', r"not accepted: text with the character U\+001B"),
        (f"a: {'9' * 5000}", "s.yaml: not valid YAML: Exceeds the limit"),
    ],
)
def test_what_is_not_taken(text: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected) as raised:
        parse_yaml(text, "s.yaml")
    assert "\n" not in str(raised.value)


def test_what_suites_are_made_of_is_taken() -> None:
    text = "base: &base {a: 1, b: [1.5, true, null, x]}\nother: {<<: *base, c: 'ü', d: \"a\\tb\"}\n2: no\n"
    assert plain(parse_yaml(text, "s.yaml")) == {
        "base": {"a": 1, "b": [1.5, True, None, "x"]},
        "other": {"c": "ü", "d": "a\tb", "a": 1, "b": [1.5, True, None, "x"]},
        "2": "no",
    }


def test_as_much_as_is_taken() -> None:
    parse_yaml("\n".join(f"k{n}: {n}" for n in range(MOST_VALUES - 1)), "s.yaml")


def test_only_a_file_is_read_as_a_suite(tmp_path: Path, pipe: Path) -> None:
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (LONGEST_FILE + 1))
    for path, reason in {
        pipe: "it is a pipe, not a file",
        Path("/dev/zero"): "it is a device, not a file",
        tmp_path: "Is a directory",
        large: "it has 131,073 bytes, more than the limit of 131,072",
        tmp_path / "none.yaml": "No such file or directory",
        Path("a\0b"): "embedded null byte",
        Path("x" * 5000): "File name too long",
    }.items():
        with pytest.raises(UserError) as raised:
            read_text(path)
        assert str(raised.value) == f"cannot read suite {path}: {reason}"
