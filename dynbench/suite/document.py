"""What a YAML document may hold before anybody looks for keys in it: so much, so deep, and plain values only.

Aliases make a text of a few hundred bytes into billions of values, or into one that holds itself; tags make values of
other kinds. Neither is needed to say what a suite says.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import AliasEvent

from dynbench.errors import UserError
from dynbench.suite.locate import Locator, Place

MOST_VALUES = 5_000
"""Keys not counted; each alias counts as all that it stands for, and long text as several."""
DEEPEST = 32
"""Mappings and lists within each other."""
TEXT_OF_ONE = 100
"""Characters of text that count as one value."""

_YAML = "tag:yaml.org,2002:"

_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and halves of characters: none belongs into a name or a path."""


class BoundedComposer(Composer):
    """Composes what is not too much, without tags. Raises MarkedYAMLError at the place where it became too much."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._nodes = 0
        self._within: list[str | None] = []
        """The anchors of the nodes that are being composed, each inside the one before."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node and all that it holds."""
        event = self.parser.peek_event()
        anchor: str | None = getattr(event, "anchor", None)
        self._nodes += 1
        if self._nodes > 2 * MOST_VALUES:  # keys are nodes too
            _refuse(f"more than {MOST_VALUES} values are not accepted", event)
        if len(self._within) > DEEPEST:
            _refuse(f"nested more than {DEEPEST} deep is not accepted", event)
        if getattr(event, "tag", None) is not None:
            _refuse(f"the tag {str(event.tag).replace(_YAML, '!!')} is not accepted; write the value without it", event)
        if anchor in self.anchors and not isinstance(event, AliasEvent):
            _refuse(f"the anchor &{anchor} a second time is not accepted", event)
        if isinstance(event, AliasEvent) and anchor in self._within:
            _refuse(f"a mapping or list that holds itself, as *{anchor} here, is not accepted", event)
        self._within.append(anchor)
        node = super().compose_node(parent, index)
        self._within.pop()
        return node


def _refuse(what: str, event: Any) -> None:
    raise MarkedYAMLError(problem=what, problem_mark=event.start_mark)


def check_document(document: Any, locator: Locator) -> None:
    """Refuse a document that is too large or holds unknown kinds of values.

    Raises UserError with file:line, or the option that set it, when the document holds more than `MOST_VALUES`, or
    anything but mappings with simple keys, lists, text, numbers, true, false and nothing.
    """
    _Check(locator).measure(document, ())


class _Check:
    """Knows what each mapping and list comes to, so that one with many aliases is looked at once."""

    def __init__(self, locator: Locator) -> None:
        self._locator = locator
        self._known: dict[int, tuple[int, int]] = {}

    def measure(self, node: Any, place: Place) -> tuple[int, int]:
        """Return how many values `node`, which is at `place`, comes to, and how deep it is."""
        if not isinstance(node, dict | list):
            return self._simple(node, place), 0
        if id(node) not in self._known:
            self._known[id(node)] = self._whole(node, place)
        return self._known[id(node)]

    def _whole(self, node: Any, place: Place) -> tuple[int, int]:
        count, depth = 1, 0
        for part, value in self._parts(node, place):
            more, below = self.measure(value, (*place, part))
            count, depth = count + more, max(depth, below + 1)
            if count > MOST_VALUES:
                self._refuse(place, f"more than {MOST_VALUES} values, with all that aliases stand for")
            if depth > DEEPEST:
                self._refuse(place, f"nested more than {DEEPEST} deep, with all that aliases stand for")
        return count, depth

    def _parts(self, node: Any, place: Place) -> Iterator[tuple[str | int, Any]]:
        if not isinstance(node, Mapping):
            yield from enumerate(node)
            return
        seen = set[str]()
        for key, value in node.items():
            self._simple(key, place)
            if str(key) in seen:
                self._refuse(place, f'the key "{key}" twice')
            seen.add(str(key))
            yield str(key), value

    def _simple(self, value: Any, place: Place) -> int:
        if isinstance(value, str):
            found = _UNWRITABLE.search(value)
            if found:
                self._refuse(place, f"text with the character U+{ord(found[0]):04X}")
            return 1 + len(value) // TEXT_OF_ONE
        if value is not None and not isinstance(value, bool | int | float):
            self._refuse(place, f"a {_kind(value)}; text like that stands in quotes")
        return 1

    def _refuse(self, place: Place, what: str) -> None:
        where = f"{'.'.join(map(str, place))}: " if place else ""
        raise UserError(f"{self._locator.at(place)}: {where}not accepted: {what}")


def _kind(value: Any) -> str:
    """Of what a suite does not hold: a date, or a key that is a list or a mapping."""
    return "list or mapping as a key" if type(value).__name__.startswith("Commented") else type(value).__name__
