"""Infinite feature selection (Roffo, Melzi, Cristani, ICCV 2015): how important each of some features is, without
labels, from all paths through the graph of features."""

from typing import cast

import numpy as np
from scipy.stats import rankdata


def inf_fs(features: np.ndarray, alpha: float = 0.5) -> np.ndarray:
    """Importance (features,) of `features` (samples, features), two of each at least.

    The sum of a feature's row of `(I - r A)^-1 - I`, r = 0.9 / the spectral radius of A, where
    `A_ij = alpha * max(s_i, s_j) + (1 - alpha) * (1 - |c_ij|)`, s standard deviations, c Spearman's rank correlations.
    Chosen here: alpha a half; max(s_i, s_j) scaled to [0, 1] over all pairs; a constant feature correlates with none.
    """
    spread = features.std(axis=0)
    larger = _unit(np.maximum.outer(spread, spread))
    adjacency = alpha * larger + (1 - alpha) * (1 - np.abs(_spearman(features)))
    radius = np.abs(np.linalg.eigvalsh(adjacency)).max()
    identity = np.eye(len(adjacency))
    paths = np.linalg.inv(identity - 0.9 / radius * adjacency) - identity
    return np.asarray(paths.sum(axis=1))


def _unit(values: np.ndarray) -> np.ndarray:
    """Moved and scaled to [0, 1]; zero where all are equal."""
    span = values.max() - values.min()
    return cast("np.ndarray", (values - values.min()) / (span or 1))


def _spearman(features: np.ndarray) -> np.ndarray:
    ranks = rankdata(features, axis=0)
    ranks -= ranks.mean(axis=0)
    norms = np.linalg.norm(ranks, axis=0)
    ranks /= np.where(norms > 0, norms, 1)
    return np.asarray(ranks.T @ ranks)
