"""The table of docs/recipes.md, from the records of its short trainings."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from dynbench.record.folder import ResultsFolder
from dynbench.record.schema import Record
from dynbench.suite.read import parse_yaml, read_text, validate
from dynbench.suite.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
BASE, RESULTS = ROOT / "suites" / "cifar10-recipes.yaml", ROOT / "results" / "recipes"
HEAD = (
    "| changed | seeds | validation top-1 % | difference, points | 95 % interval | training, TMACs |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: |"
)


def recipe_table(results: Path = RESULTS) -> str:
    """Return the table in Markdown: a line for each recipe, the best first, against the suite's own by seed."""
    suite, _ = validate(parse_yaml(read_text(BASE), BASE.name), BASE.name)
    base = _flat(suite.recipe)
    found: dict[str, dict[int, Record]] = defaultdict(dict)
    for record in ResultsFolder(results).records() if (results / "records").is_dir() else ():
        if record.status == "finished":
            found[_changed(_flat(record.run.recipe), base)][record.run.seed] = record
    own = found.pop("", {})
    lines = [_line("nothing: the recipe", own, {})] if own else []
    lines += [_line(name, found[name], own) for name in sorted(found, key=lambda name: -_mean(found[name].values()))]
    return "\n".join((HEAD, *lines))


def _flat(recipe: Recipe) -> dict[str, Any]:
    """The recipe's values by the place of their keys; those of an optimizer, say, as a whole."""
    flat: dict[str, Any] = {}
    for key, value in recipe.model_dump(mode="json").items():
        flat |= {f"{key}.{name}": one for name, one in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def _changed(recipe: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    """What was set otherwise: a part of another name, or without one, is named alone."""
    parts: dict[str, str] = {}
    for key in (*recipe, *(key for key in base if key not in recipe)):
        part, _, name = key.partition(".")
        if recipe.get(key) == base.get(key):
            continue
        if recipe.get(f"{part}.name") != base.get(f"{part}.name"):
            parts[part] = f"{part}: {recipe.get(f'{part}.name', 'none')}"
        elif name:
            parts[key] = f"{key}: {json.dumps(recipe[key])}"
        else:
            parts[key] = f"{key}: {json.dumps(recipe[key]) if recipe[key] else 'none'}"
    return ", ".join(f"`{part}`" for part in parts.values())


def _top1(record: Record) -> float:
    return record.points[0].val_top1


def _mean(records: Iterable[Record]) -> float:
    return float(np.mean([_top1(record) for record in records]))


def _line(name: str, records: Mapping[int, Record], base: Mapping[int, Record]) -> str:
    macs = float(np.mean([record.budget.train_macs for record in records.values()])) / 1e12
    cells = [name, str(len(records)), f"{_mean(records.values()):.2f}", *_difference(records, base), f"{macs:.2f}"]
    return f"| {' | '.join(cells)} |"


def _difference(records: Mapping[int, Record], base: Mapping[int, Record]) -> tuple[str, str]:
    """Mean over seeds, and Student's interval for pairs of the same seed."""
    pairs = [(_top1(records[seed]), _top1(base[seed])) for seed in sorted(records.keys() & base.keys())]
    if not pairs:
        return "", ""
    mine, theirs = zip(*pairs, strict=True)
    mean = float(np.mean(np.subtract(mine, theirs)))
    if len(pairs) == 1:
        return f"{mean:+.2f}", "one seed"
    low, high = stats.ttest_rel(mine, theirs).confidence_interval()
    return f"{mean:+.2f}", f"{low:+.2f} to {high:+.2f}"
