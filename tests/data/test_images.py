import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from ccp_dml.data import (
    LabeledImages,
    class_fold,
    class_pools,
    contiguous,
    hold_out_samples,
    input_shape,
    load,
    random_affine,
    training_batches,
)


@pytest.fixture
def data():
    labels = np.array([0, 1, 2] * 5)
    images = np.arange(15, dtype="float32").reshape(-1, 1, 1, 1) * np.ones((1, 4, 4, 1), "float32")
    return LabeledImages(images, labels)


def noise(images, seed):
    return images + tf.random.stateless_uniform(tf.shape(images), seed)


def test_batches_hold_the_samples_with_their_labels(data):
    for images, labels in training_batches(data, 2, 3, seed=0).take(5):
        assert images.shape == (6, 4, 4, 1)
        indices = images.numpy()[:, 0, 0, 0].astype(int)
        np.testing.assert_array_equal(labels, data.labels[indices])


def test_augmentation_differs_between_batches_and_is_fixed_by_the_seed(data):
    def batches(seed):
        augmented = dataclasses.replace(data, augmentation=noise)
        dataset = training_batches(augmented, 3, 5, seed).take(2)
        return [images for images, _ in dataset.as_numpy_iterator()]

    first, second = batches(0)
    np.testing.assert_array_equal(first, batches(0)[0])
    assert (first != batches(1)[0]).any()
    assert (np.sort(first % 1, axis=None) != np.sort(second % 1, axis=None)).all()


def test_pools_are_draws_in_class_order_and_continue(data):
    pool = class_pools(data, draws=2, seed=0)
    seen = []
    for round_number in range(5):
        batches = list(pool(round_number).as_numpy_iterator())
        labels = np.concatenate([labels for _, labels in batches])
        np.testing.assert_array_equal(labels, [0, 1, 2, 0, 1, 2])
        seen.append(np.concatenate([images for images, _ in batches])[:, 0, 0, 0])
    # Five samples per class: the first five draws take each of them once, as do the next five.
    draws = np.concatenate(seen).reshape(10, 3)
    np.testing.assert_array_equal(np.sort(draws[:5], axis=None), np.arange(15))
    np.testing.assert_array_equal(np.sort(draws[5:], axis=None), np.arange(15))
    again = np.concatenate([images for images, _ in pool(3).as_numpy_iterator()])
    np.testing.assert_array_equal(again[:, 0, 0, 0], seen[3])


def test_pools_do_not_depend_on_which_were_made_before():
    data = LabeledImages(np.arange(40.0).reshape(40, 1, 1, 1), np.arange(40) % 8)
    in_turn, anew = (class_pools(data, draws=3, seed=0) for _ in range(2))
    expected = [np.concatenate([images for images, _ in in_turn(t)]) for t in range(4)]
    assert not np.array_equal(expected[1], expected[2])
    for t in (2, 3, 0, 1, 1):
        images = np.concatenate([images for images, _ in anew(t)])
        np.testing.assert_array_equal(images, expected[t])


def test_pools_pass_through_the_augmentation(data):
    augmented = dataclasses.replace(data, augmentation=noise)
    (images, _) = next(iter(class_pools(augmented, draws=1, seed=0)(0)))
    assert (images.numpy() % 1 != 0).any()


def test_pools_of_many_classes_come_in_batches():
    data = LabeledImages(np.zeros((700, 1, 1, 1), "float32"), np.arange(700))
    pool = class_pools(data, draws=3, seed=0)(0)
    sizes = [len(labels) for _, labels in pool]
    assert sum(sizes) == 2100
    assert max(sizes) <= 256
    assert len(sizes) == pool.cardinality()


def test_random_affine_without_bounds_is_the_identity(generator):
    images = generator.uniform(size=(3, 6, 8, 2)).astype("float32")
    same = random_affine(images, [0, 0], rotation=0, scale=0, shear=0, shift=0)
    np.testing.assert_allclose(same, images, atol=1e-5)


def test_random_affine_shifts_by_up_to_the_bound():
    images = np.zeros((200, 10, 20, 1), "float32")
    images[:, 5, 10] = 1
    moved = random_affine(images, [0, 1], rotation=0, scale=0, shear=0, shift=0.2).numpy()
    rows = (moved.sum((2, 3)) * np.arange(10)).sum(1)
    columns = (moved.sum((1, 3)) * np.arange(20)).sum(1)
    assert 1.5 < np.abs(rows - 5).max() <= 2
    assert 3 < np.abs(columns - 10).max() <= 4


def test_random_affine_keeps_the_centre_when_it_turns():
    images = np.zeros((50, 9, 9, 1), "float32")
    images[:, 4, 4] = 1
    turned = random_affine(images, [0, 2], shift=0).numpy()
    np.testing.assert_allclose(turned[:, 4, 4], 1, atol=1e-4)


def test_class_folds_partition_the_classes_and_the_samples():
    labels = np.array([9, 2, 2, 5, 30, 31, 5, 9, 9, 8, 8])
    classes = np.unique(labels)
    validated = []
    for fold in range(1, 5):
        train, validation = class_fold(labels, num_folds=4, fold=fold)
        np.testing.assert_array_equal(np.sort([*train, *validation]), np.arange(len(labels)))
        assert not set(labels[train]) & set(labels[validation])
        fold_classes = np.unique(labels[validation])
        # Contiguous among the classes in label order.
        positions = np.searchsorted(classes, fold_classes)
        assert (np.diff(positions) == 1).all()
        validated.append(fold_classes)
    # Fold k validates on part 5 − k.
    np.testing.assert_array_equal(np.concatenate(validated[::-1]), classes)
    np.testing.assert_array_equal(class_fold(labels, 2, 1)[1], [0, 4, 5, 7, 8])


def test_the_ablation_split_validates_on_the_last_third():
    # Labels with gaps, classes of 1 to 7 samples, in no order.
    labels = np.random.default_rng(0).permutation(
        np.repeat([3, 4, 10, 11, 12, 40, 41], [5, 1, 7, 2, 2, 3, 6])
    )
    train, validation = class_fold(labels, num_folds=3, fold=1)
    np.testing.assert_array_equal(np.unique(labels[train]), [3, 4, 10, 11, 12])
    np.testing.assert_array_equal(np.unique(labels[validation]), [40, 41])
    assert len(validation) == 9
    np.testing.assert_array_equal(np.sort([*train, *validation]), np.arange(26))


@pytest.mark.parametrize(
    ("num_folds", "fold", "message"),
    [
        (1, 1, "between 2 and the number of classes, 3; got 1"),
        (4, 1, "between 2 and the number of classes, 3; got 4"),
        (2, 3, "between 1 and num_folds, 2; got 3"),
    ],
)
def test_folds_out_of_range_are_named(num_folds, fold, message):
    with pytest.raises(ValueError, match=message):
        class_fold(np.arange(3), num_folds, fold)


def test_held_out_samples_are_of_every_class():
    labels = np.repeat([1, 4, 6], [40, 20, 3])
    train, held_out = hold_out_samples(labels, 0.25, seed=0)
    np.testing.assert_array_equal(np.sort([*train, *held_out]), np.arange(63))
    assert [np.sum(labels[held_out] == label) for label in (1, 4, 6)] == [10, 5, 1]
    np.testing.assert_array_equal(hold_out_samples(labels, 0.25, seed=0)[1], held_out)
    assert set(hold_out_samples(labels, 0.25, seed=1)[1]) != set(held_out)
    with pytest.raises(ValueError, match=r"between 0 and 1; got 1\.2"):
        hold_out_samples(labels, 1.2, seed=0)


def test_contiguous_labels():
    np.testing.assert_array_equal(contiguous(np.array([30, -1, 30, 4])), [2, 0, 2, 1])


@pytest.mark.parametrize("name", ["digits", "glyphs"])
def test_shapes_are_known_before_data_are_loaded(name):
    assert load(name).train.image_shape == input_shape(name, image_size=227)
    assert input_shape("folder", image_size=64) == (64, 64, 3)


def test_digits():
    benchmark = load("digits")
    assert len(benchmark.train) == 901
    assert len(benchmark.test) == 896
    assert set(benchmark.train.labels) == {0, 1, 2, 3, 4}
    assert set(benchmark.test.labels) == {5, 6, 7, 8, 9}
    assert benchmark.train.images.shape[1:] == (8, 8, 1)
    assert benchmark.train.images.min() == 0
    assert benchmark.train.images.max() == 1


def test_unknown_data_sets_list_the_known_ones():
    with pytest.raises(
        ValueError,
        match="unknown data set 'mnist'; the data sets are digits, glyphs, cub200_2011, cars196",
    ):
        load("mnist")


def test_images_and_labels_must_fit():
    with pytest.raises(ValueError, match=r"got \(3, 2, 2\) and \(3,\)"):
        LabeledImages(np.zeros((3, 2, 2)), np.zeros(3))


@pytest.mark.parametrize("classes", [range(3), range(100, 330), range(699, 700), range(700)])
def test_pools_of_some_classes_are_parts_of_the_whole(classes):
    labels = np.arange(1400) % 700
    images = np.arange(1400, dtype="float32").reshape(-1, 1, 1, 1)
    pool = class_pools(LabeledImages(images, labels, noise), draws=3, seed=0)
    for round_number in (0, 2, 1):
        whole = list(pool(round_number).as_numpy_iterator())
        some = pool(round_number, classes)
        assert some.cardinality() == len(list(some)) <= len(whole)
        parts = zip(*some.as_numpy_iterator(), strict=True)
        some_images, some_labels = map(np.concatenate, parts)
        whole_images, whole_labels = map(np.concatenate, zip(*whole, strict=True))
        is_kept = np.isin(whole_labels, classes)
        np.testing.assert_array_equal(some_labels, whole_labels[is_kept])
        np.testing.assert_array_equal(some_images, whole_images[is_kept])
        np.testing.assert_array_equal(some_labels, np.tile(classes, 3))
