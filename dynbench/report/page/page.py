"""The page of a results folder: findings -> one HTML file that needs nothing beside it.

Whatever comes from records is text: the template escapes it, the script puts it in as text, and the browser is told to
run no script but the page's own and to load nothing at all.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from dynbench.analysis.analysis import Analysis
from dynbench.analysis.words import setting_title
from dynbench.report.accuracy_tables import budget_table, curves_table, quoted_table
from dynbench.report.latency_tables import engines_table, latency_table
from dynbench.report.page.findings import claim_rows, held_against, in_a_sentence
from dynbench.report.page.made_on import bibtex, finished_on, made_on
from dynbench.report.page.palette import Look, looks, palette_css
from dynbench.report.page.pictures import histograms, intervals, trainings
from dynbench.report.page.ran import what_ran
from dynbench.report.page.rows import page_table
from dynbench.report.page.views import View, accuracy_views, realised_views

if TYPE_CHECKING:
    from jinja2 import Template

ASSETS = Path(__file__).parent / "assets"
_UNSEEN = re.compile("[\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\x00-\x08\x0b-\x1f\x7f]")
"""Letters that are not seen but change how others are read: marks of writing direction, controls."""


def html_page(found: Analysis) -> str:
    """Return the page. Raises UserError when per-image arrays are missing or damaged, or the literature is faulty."""
    table = page_table(found)
    known = looks(row.configuration.run.method for row in table.rows)
    accuracy, realised = accuracy_views(found, table), realised_views(found, table)
    held = held_against(found)
    script = (ASSETS / "page.js").read_text()
    style = (ASSETS / "page.css").read_text() + palette_css(known.values())
    return _template().render(
        title=", ".join(dict.fromkeys(record.run.suite for record in found.records)),
        sentence=in_a_sentence(found),
        settings=[setting_title(setting, chosen) for setting, chosen in found.settings.items()],
        standings=[standing.sentence(found.names) for standing in found.standings],
        names=found.names,
        table=table,
        marks={name: index for index, name in enumerate(known)},
        accuracy=accuracy,
        realised=realised,
        data=_json({"views": {"accuracy": _plain(accuracy), "realised": _plain(realised)}, "looks": _looks(known)}),
        held=list(zip(held, intervals(held), strict=True)),
        curves=curves_table(found.curves) if found.curves else None,
        left_out=len(found.comparisons) - len(held),
        timings=[latency_table(block) for block in found.latency],
        engines=[engines_table(block) for block in found.latency if block.engines],
        untimed=list(dict.fromkeys(name for block in found.latency for name in block.simulated)),
        histograms=histograms(found),
        ran=what_ran(found),
        trainings=trainings(found),
        budgets=[budget_table(found, setting) for setting in found.settings],
        claims=claim_rows(found),
        quoted=quoted_table(found.quoted) if found.quoted else None,
        rejected=[row for row in found.literature if not row.accepted],
        made_on=made_on(found.records),
        made=finished_on(found),
        bibtex=bibtex(found),
        script=script,
        style=style,
        allowed=f"script-src '{_digest(script)}'; style-src '{_digest(style)}'",
    )


def visible(text: str) -> str:
    """Return `text` with what is not seen in it spelt out: `[U+202E]` turns the writing direction in silence."""
    return _UNSEEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", text)


@cache
def _template() -> "Template":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalized,
    )
    return environment.get_template("page.html.jinja")


def _finalized(value: object) -> object:
    """What an expression of the template comes to: text of records is made visible, markup of the template is not."""
    return visible(value) if type(value) is str else value


def _plain(views: tuple[View, ...]) -> list[dict[str, object]]:
    return [asdict(view) for view in views]


def _looks(known: Mapping[str, Look]) -> list[dict[str, object]]:
    """In the order of the classes `m0`, `m1`, ..."""
    return [{"method": method, "shape": look.shape} for method, look in known.items()]


def _json(value: object) -> str:
    """Return JSON that can stand in a script element: it has no `<`, whatever is in it."""
    text = json.dumps(_visible(value), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("&", "\\u0026")


def _visible(value: object) -> object:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {key: _visible(its) for key, its in value.items()}
    return [_visible(its) for its in value] if isinstance(value, list | tuple) else value


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
