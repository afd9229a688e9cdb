import collections
import itertools

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from ccp_dml.layers.class_sampling import sample_classes


def drawn(labels, num_classes, num_others, seed):
    classes, is_own = sample_classes(
        np.asarray(labels), num_classes, num_others, seed=seed, stream=0
    )
    return ops.convert_to_numpy(classes), ops.convert_to_numpy(is_own)


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize("num_others", [1, 5, 40])
@pytest.mark.parametrize("labels", [[3], [3, 3, 3, 0], [7, 1, 7, 9, 9]])
def test_own_classes_and_others_are_drawn_once(labels, num_others):
    for seed in range(5):
        classes, is_own = drawn(labels, 50, num_others, seed)
        assert len(classes) == len(labels) + num_others == len(set(classes))
        assert set(classes[is_own]) == set(labels)
        assert not set(classes[~is_own]) & set(labels)
        assert classes.min() >= 0
        assert classes.max() < 50


@pytest.mark.both_backends
@pytest.mark.parametrize("num_others", [3, 4, 5, 100])
def test_where_there_are_no_more_all_classes_are_taken(num_others):
    classes, is_own = drawn([2, 2, 4], 6, num_others, seed=1)
    assert sorted(classes) == list(range(6))
    assert set(classes[is_own]) == {2, 4}


def test_all_sets_of_others_are_equally_likely():
    labels = tf.constant([4, 4], tf.int64)
    draw = tf.function(lambda seed: sample_classes(labels, 7, 1, seed, stream=0)[0])
    seeds = tf.range(3000, dtype=tf.int64)
    counts = collections.Counter(tuple(sorted(draw(seed).numpy())) for seed in seeds)
    # Two of the six others.
    assert set(counts) == {
        tuple(sorted([4, *pair])) for pair in itertools.combinations([0, 1, 2, 3, 5, 6], 2)
    }
    # 200 expected of each; the bounds are more than 4 standard deviations away.
    assert all(140 < count < 260 for count in counts.values())


def test_it_is_the_same_under_xla_and_with_lengths_that_are_unknown():
    labels = tf.constant([5, 5, 8, 1], tf.int64)
    expected = drawn(labels, 1000, 20, seed=3)
    signature = [tf.TensorSpec([None], tf.int64), tf.TensorSpec([], tf.int64)]
    for options in ({"jit_compile": True}, {"input_signature": signature}):
        function = tf.function(lambda labels, seed: sample_classes(labels, 1000, 20, seed, 0))
        function = tf.function(function.python_function, **options)
        for ours, theirs in zip(expected, function(labels, tf.constant(3, tf.int64)), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_the_number_of_classes_is_known_where_that_of_labels_is():
    function = tf.function(lambda labels: sample_classes(labels, 1000, 20, 0, 0))
    classes, _ = function.get_concrete_function(tf.TensorSpec([4], tf.int64)).outputs
    assert classes.shape == (24,)


def test_nothing_is_as_long_as_there_are_classes():
    labels = tf.constant([0, 2**30], tf.int64)
    function = tf.function(lambda labels: sample_classes(labels, 2**31 - 2**17, 10, 0, 0))
    classes, is_own = function(labels)
    assert len(set(classes.numpy())) == 12
    assert classes.numpy().max() > 2**30
    assert is_own.numpy().sum() == 2
