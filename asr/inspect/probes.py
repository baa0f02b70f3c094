"""What a layer knows, by the accuracy of a linear probe on it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lm.errors import InputError

DoubleArray = NDArray[np.float64]


def probe_accuracy(
    features: DoubleArray,
    labels: NDArray[np.int64],
    units: NDArray[np.int64],
    *,
    folds: int = 5,
    ridge: float = 1.0,
) -> float:
    """Accuracy of ridge regression on one-hot labels, by cross-validation over units.

    Args:
        features: (K, D).
        labels: class of each row, (K,).
        units: what must not be on both sides (the utterance of a frame), (K,).
        folds: parts that the units are dealt into.
        ridge: weight of the penalty, for features of unit variance.
    Raises:
        InputError: fewer than two classes, or fewer units than folds.
    """
    classes, targets = np.unique(labels, return_inverse=True)
    names = np.unique(units)
    if len(classes) < 2 or len(names) < folds:
        raise InputError(
            f"a probe needs two classes and {folds} utterances; it has {len(classes)} and {len(names)}. "
            "Give a larger split."
        )
    fold_of = {name: place % folds for place, name in enumerate(np.random.default_rng(0).permutation(names))}
    fold = np.array([fold_of[unit] for unit in units])
    right = 0
    for number in range(folds):
        train, test = fold != number, fold == number
        mean, deviation = features[train].mean(axis=0), features[train].std(axis=0) + 1e-6
        inputs = np.c_[(features - mean) / deviation, np.ones(len(features))]
        onehot = np.eye(len(classes))[targets[train]]
        gram = inputs[train].T @ inputs[train] + ridge * np.eye(inputs.shape[1])
        weights = np.linalg.solve(gram, inputs[train].T @ onehot)
        right += int(((inputs[test] @ weights).argmax(axis=1) == targets[test]).sum())
    return right / len(labels)


def chance(labels: NDArray[np.int64]) -> float:
    """Accuracy of always guessing the commonest class."""
    return float(np.unique(labels, return_counts=True)[1].max() / len(labels))
