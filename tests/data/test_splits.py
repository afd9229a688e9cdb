"""Labelled samples that are split for training and validation."""

import dataclasses

import numpy as np
import pytest

from ccp_dml.data import (
    ImageFiles,
    LabeledImages,
    class_fold,
    hold_out_samples,
    split_by_class,
    split_by_sample,
)

LABELS = np.random.default_rng(0).permutation(np.repeat([3, 7, 40, 41, 60], [4, 9, 8, 5, 6]))


def make_images(labels=LABELS):
    # Every image tells which sample it is.
    values = np.arange(len(labels), dtype="float32").reshape(-1, 1, 1, 1)
    return LabeledImages(values, labels)


def make_files(labels=LABELS):
    return ImageFiles(np.array([f"{number}.png" for number in range(len(labels))]), labels)


def positions(samples):
    if isinstance(samples, ImageFiles):
        return [int(path.removesuffix(".png")) for path in samples.paths]
    return samples.images.ravel().astype(int).tolist()


@pytest.mark.parametrize("make", [make_images, make_files])
@pytest.mark.parametrize(
    ("split", "indices"),
    [
        (lambda data: split_by_class(data, num_folds=2, fold=2), class_fold(LABELS, 2, 2)),
        (lambda data: split_by_sample(data, 0.4, seed=3), hold_out_samples(LABELS, 0.4, 3)),
    ],
    ids=["class", "sample"],
)
def test_training_labels_are_renumbered_and_no_others(make, split, indices):
    train, held_out = split(make())
    assert positions(train) == indices[0].tolist()
    assert positions(held_out) == indices[1].tolist()
    np.testing.assert_array_equal(held_out.labels, LABELS[indices[1]])
    classes = sorted(set(LABELS[indices[0]].tolist()))
    assert train.num_classes == len(classes)
    assert [classes[label] for label in train.labels] == LABELS[indices[0]].tolist()


def test_the_samples_themselves_stay_as_they_are():
    data = make_images()
    before = dataclasses.replace(data, labels=data.labels.copy())
    split_by_class(data, num_folds=2)
    np.testing.assert_array_equal(data.labels, before.labels)


def test_a_single_class_validates_nothing():
    with pytest.raises(ValueError, match=r"validated on 1 of 5 classes.*split_by_sample"):
        split_by_class(make_images())
