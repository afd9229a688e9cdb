"""Proportional and hierarchical batches: frequencies, repetitions, resuming."""

import collections
import functools

import numpy as np
import pytest
import scipy.stats

from ccp_dml.data import hierarchical_batches, proportional_batches
from ccp_dml.data.samplers.passes import Groups, inclusion_probabilities, visit_groups

# Labels with gaps, in no order, of classes of unequal size.
SIZES = {3: 2, 4: 30, 10: 4, 11: 17, 25: 8, 70: 9, 71: 50}
# Super-classes of classes 0…29.
SUPER_SIZES = {"birds": 16, "cars": 4, "sofas": 10}


def shuffled_labels():
    labels = np.repeat(list(SIZES), list(SIZES.values()))
    return np.random.default_rng(0).permutation(labels)


def super_classes_of(labels):
    return np.repeat(list(SUPER_SIZES), list(SUPER_SIZES.values()))[labels]


def drawn(dataset, batches, classes_per_batch):
    indices = np.stack(list(dataset.take(batches).as_numpy_iterator()))
    return indices.reshape(batches, classes_per_batch, -1)


HIERARCHY = np.random.default_rng(1).permutation(np.repeat(np.arange(30), 6))
SAMPLERS = {
    "proportional": (shuffled_labels(), proportional_batches),
    "hierarchical": (
        HIERARCHY,
        functools.partial(hierarchical_batches, super_classes=super_classes_of(HIERARCHY)),
    ),
}


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize(("classes_per_batch", "samples_per_class"), [(2, 3), (4, 2), (6, 1)])
def test_a_batch_holds_no_class_and_no_sample_twice(name, classes_per_batch, samples_per_class):
    labels, sampler = SAMPLERS[name]
    dataset = sampler(labels, classes_per_batch, samples_per_class, seed=0)
    for batch in drawn(dataset, 200, classes_per_batch):
        classes = labels[batch]
        assert (classes == classes[:, :1]).all()
        assert len(set(classes[:, 0])) == classes_per_batch
        for label, samples in zip(classes[:, 0], batch, strict=True):
            available = np.count_nonzero(labels == label)
            assert len(set(samples)) == min(samples_per_class, available)


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_seed_fixes_batches_and_the_first_step_passes_over_some(name):
    labels, sampler = SAMPLERS[name]
    batches = drawn(sampler(labels, 4, 2, seed=3), 60, 4)
    assert (batches != drawn(sampler(labels, 4, 2, seed=4), 60, 4)).any()
    for first_step in (0, 1, 7, 15, 16, 41):
        later = drawn(sampler(labels, 4, 2, seed=3, first_step=first_step), 10, 4)
        np.testing.assert_array_equal(later, batches[first_step : first_step + 10])


def test_classes_come_in_proportion_to_their_size():
    labels = shuffled_labels()
    # 60 batches of 2 samples are one pass over the 120 samples.
    passes = drawn(proportional_batches(labels, 1, 2, seed=0), 60 * 20, 1).reshape(20, 60, 2)
    visits = collections.Counter()
    for one_pass in passes:
        counts = collections.Counter(labels[one_pass[:, 0]])
        for label, size in SIZES.items():
            assert abs(counts[label] - size / 2) < 1
        visits += counts
    for label, size in SIZES.items():
        # Each pass rounds up or down, as if by a coin toss: the bound is 6 standard deviations.
        assert visits[label] / 20 == pytest.approx(size / 2, abs=6 * 0.5 / np.sqrt(20))


def test_a_class_that_is_too_large_comes_in_every_batch():
    labels = shuffled_labels()
    classes = labels[drawn(proportional_batches(labels, 4, 2, seed=0), 1500, 4)[:, :, 0]]
    probabilities = dict(
        zip(
            sorted(SIZES),
            inclusion_probabilities(np.array([SIZES[label] for label in sorted(SIZES)]), 4),
            strict=True,
        )
    )
    assert probabilities[71] == probabilities[4] == 1
    for label, probability in probabilities.items():
        assert np.mean((classes == label).any(axis=1)) == pytest.approx(probability, abs=0.02)


def test_all_samples_of_a_class_are_equally_likely():
    labels = shuffled_labels()
    indices = drawn(proportional_batches(labels, 2, 2, seed=5), 3000, 2).ravel()
    for label in (4, 11, 71):
        counts = np.bincount(indices, minlength=len(labels))[labels == label]
        # Samples take turns, so their counts are more even than by chance.
        assert counts.max() - counts.min() < 0.1 * counts.mean()
        assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_which_classes_meet_is_random():
    labels = np.repeat(np.arange(12), 10)
    classes = labels[drawn(proportional_batches(labels, 3, 2, seed=2), 4000, 3)[:, :, 0]]
    pairs = collections.Counter()
    for batch in classes:
        pairs.update((a, b) for a in batch for b in batch if a < b)
    counts = np.array(list(pairs.values()))
    assert len(counts) == 66
    # 4,000 · 3 pairs, which are not quite independent within a pass of 20 batches.
    assert counts.std() / counts.mean() < 0.15
    assert counts.mean() == pytest.approx(4000 * 3 / 66)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_batches_hold_as_many_super_classes_as_wanted(count):
    dataset = SAMPLERS["hierarchical"][1](
        HIERARCHY, 2 * count, 2, seed=0, super_classes_per_batch=float(count)
    )
    groups = super_classes_of(HIERARCHY)[drawn(dataset, 200, 2 * count)[:, :, 0]]
    for batch in groups:
        assert sorted(collections.Counter(batch).values()) == [2] * count


def test_all_classes_of_super_classes_come_equally_often():
    dataset = SAMPLERS["hierarchical"][1](HIERARCHY, 2, 2, seed=0, super_classes_per_batch=1)
    batches = drawn(dataset, 15 * 200, 2)
    visits = np.bincount(HIERARCHY[batches[:, :, 0]].ravel(), minlength=30)
    # A pass of 15 batches visits each class once.
    assert (visits == 200).all()
    samples = np.bincount(batches.ravel(), minlength=len(HIERARCHY))
    assert scipy.stats.chisquare(samples).pvalue > 1e-3


def test_classes_of_a_super_class_meet_at_random():
    dataset = SAMPLERS["hierarchical"][1](HIERARCHY, 2, 1, seed=1, super_classes_per_batch=1)
    classes = np.sort(HIERARCHY[drawn(dataset, 15 * 400, 2)[:, :, 0]], axis=1)
    cars = collections.Counter(map(tuple, classes[(classes[:, 0] >= 16) & (classes[:, 1] < 20)]))
    assert len(cars) == 6
    # Each pass splits the four cars into two pairs, in one of three ways.
    counts = np.array([cars[16, other] for other in (17, 18, 19)])
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


def test_probabilities_of_equal_groups():
    np.testing.assert_allclose(inclusion_probabilities(np.ones(8), 3), 3 / 8)
    np.testing.assert_allclose(inclusion_probabilities(np.array([5.0, 1, 1]), 3), 1)


@pytest.mark.parametrize("num_batches", [1, 2, 7])
def test_visits_of_any_probabilities(num_batches, generator):
    for _ in range(50):
        weights = generator.exponential(size=generator.integers(2, 9)) + 1e-3
        per_batch = generator.integers(1, len(weights) + 1)
        probabilities = inclusion_probabilities(weights, per_batch)
        assert probabilities.sum() == pytest.approx(per_batch)
        visits = visit_groups(probabilities, num_batches, generator)
        assert visits.shape == (num_batches, per_batch)
        assert all(len(set(batch)) == per_batch for batch in visits)
        counts = np.bincount(visits.ravel(), minlength=len(weights))
        assert (np.abs(counts - num_batches * probabilities) < 1 + 1e-6).all()


def test_dealing_goes_through_all_members_before_it_starts_over(generator):
    groups = Groups(np.array([5, 5, 8, 5, 5, 8]))
    dealt = groups.deal(np.array([0, 1, 0, 1]), 2, generator)
    assert sorted(dealt[[0, 2]].ravel()) == [0, 1, 3, 4]
    assert sorted(dealt[1]) == sorted(dealt[3]) == [2, 5]


def test_sop_is_drawn_with_few_passes():
    """11,318 classes of 12 super-classes, as in Stanford Online Products."""
    generator = np.random.default_rng(0)
    labels = np.concatenate([np.arange(11_318), generator.integers(0, 11_318, 48_682)])
    super_classes = (np.arange(11_318) ** 2 % 12)[labels]
    sampler = functools.partial(hierarchical_batches, super_classes=super_classes)
    for each in (proportional_batches, sampler):
        batches = drawn(each(labels, 8, 4, seed=0), 1415, 8)
        assert len(set(labels[batches].ravel())) > 6_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.arange(3), 4, 1), "a batch of 4 classes cannot be drawn from 3 classes"),
        ((np.arange(3), 1, 0), "samples_per_class must be a whole number of at least 1; got 0"),
        ((np.zeros(0, int), 1, 1), r"at least one sample; got \(0,\)"),
    ],
)
def test_what_cannot_be_drawn_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        proportional_batches(*arguments, seed=0)
    with pytest.raises(ValueError, match=message):
        hierarchical_batches(*arguments, seed=0, super_classes=arguments[0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"super_classes": np.zeros(5)}, r"\(180,\) like the labels; got \(5,\)"),
        ({"super_classes": np.arange(180)}, "class [0-9]+ is in two super-classes: "),
        ({"super_classes_per_batch": 3}, "must be a multiple of super_classes_per_batch, 3; got 8"),
        ({"super_classes_per_batch": 4}, "a whole number from 1 to 3; got 4"),
        ({"super_classes_per_batch": 1.5}, "a whole number from 1 to 3; got 1.5"),
        ({"super_classes_per_batch": 1}, r"takes 8 classes of .*: cars \(4\); increase"),
    ],
)
def test_wrong_super_classes_are_named(changes, message):
    arguments = {"super_classes": super_classes_of(HIERARCHY), **changes}
    with pytest.raises(ValueError, match=message):
        hierarchical_batches(HIERARCHY, 8, 2, 0, **arguments)
