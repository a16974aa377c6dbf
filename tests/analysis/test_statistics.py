"""Intervals at their limits; their values are compared with scipy's in the tests of what uses them."""

import numpy as np

from dynbench.analysis.statistics import Paired, bootstrap_interval, paired_intervals


def test_a_single_image_says_nothing_of_others() -> None:
    assert bootstrap_interval(np.array([0.0])) == (-100.0, 100.0)
    several = Paired(np.array([1, 0, 0, 1]), 1)
    alone, (low, high) = paired_intervals([Paired(np.array([1]), 1), several])
    assert alone == (-1.0, 1.0)
    assert 0 <= low < several.mean < high <= 1
