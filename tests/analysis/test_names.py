"""What configurations are called where they stand beside each other."""

from dynbench.analysis.names import Names
from tests.helpers.records import Fake, make_run

NULL = Fake("filter_pruning", {"macs": 0.5, "lr": None})


def test_what_is_left_to_its_default_is_not_named() -> None:
    """The record's label, which is on disk, keeps it."""
    run = make_run(NULL)
    assert Names.of([run, make_run(Fake())]).whole(run) == "filter_pruning macs=0.5"
    assert run.label == "filter_pruning macs=0.5 lr=None"


def test_a_null_that_tells_runs_apart_is_named() -> None:
    runs = [make_run(NULL), make_run(Fake("filter_pruning", {"macs": 0.5, "lr": 0.1}))]
    names = Names.of(runs)
    assert [names.whole(run) for run in runs] == ["filter_pruning macs=0.5 lr=None", "filter_pruning macs=0.5 lr=0.1"]
    assert [names.brief(run) for run in runs] == ["filter_pruning lr=None", "filter_pruning lr=0.1"]


def test_what_all_share_is_told_from_what_differs() -> None:
    wide, narrow = (make_run(Fake("lc_net", {"l1_layer": 0.1, "l1_channel": size})) for size in (0.5, 0.2))
    names = Names.of([wide, narrow, make_run(Fake("l_net", {"l1_layer": 0.1}))])
    assert (names.shared(wide), names.differing(narrow)) == (["l1_layer=0.1"], ["l1_channel=0.2"])
    assert names.brief(narrow) == "lc_net l1_channel=0.2"
    assert [names.several(run) for run in (wide, make_run(Fake("l_net", {"l1_layer": 0.1})))] == [True, False]
