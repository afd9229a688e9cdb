"""Descriptions of data sets."""

import numpy as np
import pytest

from ccp_dml.data import Benchmark, LabeledImages
from ccp_dml.experiment.description import describe
from ccp_dml.experiment.settings import Settings


def make_part(sizes):
    labels = np.repeat(list(sizes), list(sizes.values()))
    return LabeledImages(np.zeros((len(labels), 4, 6, 1), "float32"), labels)


TRAIN, TEST = make_part({0: 3, 1: 5, 2: 4, 3: 8}), make_part({4: 2, 5: 1})
NAMES = ("ant", "bee|wasp", "cat", "dog", "elk", "fox")


def test_sizes_and_extremes_are_in_a_table():
    text = describe(Benchmark(TRAIN, TEST), Settings(num_folds=2))
    assert text.startswith("data set digits: 23 images, inputs of 6 x 4 pixels and 1 channels\n")
    assert "| train | 20 | 4 | 3 images: class 0 | 8 images: class 3 |" in text
    assert "| test | 3 | 2 | 1 images: class 5 | 2 images: class 4 |" in text


def test_a_gallery_has_a_row_and_classes_have_names():
    benchmark = Benchmark(TRAIN, TEST, gallery=make_part({4: 1, 5: 6}), class_names=NAMES)
    text = describe(benchmark, Settings(num_folds=2))
    assert "| query | 3 | 2 | 1 images: class 5 (fox) | 2 images: class 4 (elk) |" in text
    assert "| gallery | 7 | 2 | 1 images: class 4 (elk) | 6 images: class 5 (fox) |" in text
    # A bar would end the cell.
    assert "from class 0 (ant) to class 1 (bee¦wasp)" in text


def test_folds_are_described():
    *_, first, second = describe(Benchmark(TRAIN, TEST), Settings(num_folds=2)).splitlines()
    assert first == (
        "fold 1 of 2 (chosen): trains on 8 images of 2 classes, validates on 12 images of 2 "
        "classes, from class 2 to class 3"
    )
    assert second.startswith("fold 2 of 2: trains on 12 images of 2 classes")
    *_, last = describe(Benchmark(TRAIN, TEST), Settings(num_folds=4)).splitlines()
    assert last.endswith("from class 0 to class 0; too few classes to validate on")


@pytest.mark.parametrize(
    ("validation", "expected"),
    [
        ("test", "trains on 20 images of 4 classes, validates on the test classes"),
        # A quarter of each class, but at least two images if that leaves two: 1, 2, 2 and 2.
        ("samples", "trains on 13 images, validates on 7 of all classes"),
    ],
)
def test_what_validates_is_described(validation, expected):
    settings = Settings(validation=validation, validation_fraction=0.25)
    *_, last = describe(Benchmark(TRAIN, TEST), settings).splitlines()
    assert last == expected


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ({7: 2, 8: 3}, "none of which are training classes"),
        ({0: 2, 8: 3}, "1 of which is a training class"),
        ({0: 2, 1: 3}, "all of which are training classes"),
    ],
)
def test_a_given_validation_is_described(classes, expected):
    benchmark = Benchmark(TRAIN, TEST, validation=make_part(classes))
    text = describe(benchmark, Settings())
    assert "| val | 5 | 2 | 2 images" in text
    assert text.splitlines()[-1] == (
        "trains on 20 images of 4 classes, validates on the val split: 5 images of 2 classes, "
        + expected
    )
    with pytest.raises(
        ValueError,
        match="a data set with a val split is validated on it, so validation must be auto",
    ):
        describe(benchmark, Settings(validation="classes"))


def test_notes_come_last():
    text = describe(Benchmark(TRAIN, TEST, notes=("one", "another")), Settings(num_folds=2))
    assert text.endswith("\n\n- one\n- another")


def test_label_noise_is_described():
    settings = Settings(num_folds=2, label_noise=0.25)
    *_, last = describe(Benchmark(TRAIN, TEST), settings).splitlines()
    # Fold 1 trains on the classes with 3 and 5 images.
    assert last.startswith("label noise: 2 of 8 training labels are replaced; classes then have ")
    clean = describe(Benchmark(TRAIN, TEST), Settings(num_folds=2))
    assert "label noise" not in clean
    two = Benchmark(make_part({0: 1, 1: 1, 2: 1, 3: 9, 4: 2, 5: 2}), TEST)
    lines = describe(two, Settings(num_folds=3, fold=1, label_noise=0.9)).splitlines()
    assert [line for line in lines if line.startswith("label noise: 11 of 12 ")]
