"""Labels that are replaced on purpose."""

import numpy as np
import pytest
import scipy.stats

from ccp_dml.data import replace_labels

LABELS = np.repeat([2, 3, 7, 11], [10, 20, 30, 41])


@pytest.mark.parametrize(("share", "count"), [(0, 0), (0.05, 5), (0.2, 20), (0.5, 50), (1, 101)])
def test_exactly_the_share_is_wrong(share, count):
    for seed in range(5):
        noisy = replace_labels(LABELS, share, seed)
        assert (noisy != LABELS).sum() == count
        assert set(noisy) <= {2, 3, 7, 11}
        assert noisy.dtype == LABELS.dtype


def test_the_labels_that_are_given_stay_as_they_are():
    labels = LABELS.copy()
    replace_labels(labels, 0.5, 0)
    np.testing.assert_array_equal(labels, LABELS)


def test_a_seed_fixes_the_draw():
    draws = [replace_labels(LABELS, 0.2, seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()


def test_all_samples_and_all_other_classes_are_equally_likely():
    labels = np.repeat([2, 3, 7, 11], [200, 400, 600, 800])
    noisy = np.stack([replace_labels(labels, 0.25, seed) for seed in range(200)])
    replaced = noisy != labels
    # Drawn without replacement, the counts vary a little less than chi-squared says.
    assert scipy.stats.chisquare(replaced.sum(axis=0)).pvalue > 1e-3
    for label in (2, 3, 7, 11):
        given = noisy[:, labels == label][replaced[:, labels == label]]
        others, counts = np.unique(given, return_counts=True)
        assert others.tolist() == sorted({2, 3, 7, 11} - {label})
        assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_there_must_be_another_class_and_a_share():
    assert replace_labels(np.zeros(5, int), 0, 0).tolist() == [0] * 5
    with pytest.raises(ValueError, match="have at least 2 classes to be replaced; got 1"):
        replace_labels(np.zeros(5, int), 0.5, 0)
    for share in (-0.1, 1.1):
        with pytest.raises(ValueError, match=f"share must be at .* got {share}"):
            replace_labels(LABELS, share, 0)
