"""What training draws when it resumes from a step."""

import os

import numpy as np
import pytest

from ccp_dml.data import ImageFiles, Preprocessing, class_draws, class_pools, load, training_batches
from tests.data.pictures import encoded, gradient

SMALL = Preprocessing(8, resize_size=9, scaling="symmetric")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    paths = [folder / f"{number}.jpg" for number in range(20)]
    for number, path in enumerate(paths):
        path.write_bytes(encoded(gradient(24, 30, seed=number)))
    return ImageFiles(np.array(list(map(str, paths))), np.arange(20) // 5, SMALL)


@pytest.fixture(scope="module", params=["memory", "files", "encoded files in memory"])
def data(request, files):
    if request.param == "memory":
        digits = load("digits").train
        assert digits.augmentation is not None
        return digits
    if request.param == "files":
        return files
    return ImageFiles(files.paths, files.labels, SMALL, "memory")


@pytest.fixture(scope="module")
def whole(data):
    """The batches of a training that was never interrupted."""
    return list(training_batches(data, 3, 2, seed=7).take(28).as_numpy_iterator())


@pytest.mark.parametrize("first_step", [1, 4, 23])
def test_training_resumes_with_the_remaining_batches(data, whole, first_step):
    ours = training_batches(data, 3, 2, seed=7, first_step=first_step)
    expected = whole[first_step : first_step + 5]
    differ = set()
    for (images, labels), (their_images, their_labels) in zip(
        ours.take(5).as_numpy_iterator(), expected, strict=True
    ):
        np.testing.assert_array_equal(images, their_images)
        np.testing.assert_array_equal(labels, their_labels)
        differ.add(images.tobytes())
    assert len(differ) == 5


def test_training_batches_have_a_static_shape(data):
    images, labels = training_batches(data, 3, 2, seed=7).element_spec
    assert images.shape == (6, *data.image_shape)
    assert labels.shape == (6,)


def test_files_of_steps_that_are_passed_over_are_not_read(files, tmp_path):
    # The labels tell which files were drawn.
    named = files.with_labels(np.arange(20))
    drawn = [
        set(labels) for _, labels in training_batches(named, 3, 1, 0).take(4).as_numpy_iterator()
    ]
    copies = np.array([str(tmp_path / os.path.basename(path)) for path in files.paths])
    kept = drawn[2] | drawn[3]
    assert (drawn[0] | drawn[1]) - kept
    for number in kept:
        with open(files.paths[number], "rb") as source:
            (tmp_path / os.path.basename(copies[number])).write_bytes(source.read())
    rest = ImageFiles(copies, named.labels, SMALL)
    batches = training_batches(rest, 3, 1, 0, first_step=2).take(2)
    assert [set(labels) for _, labels in batches.as_numpy_iterator()] == drawn[2:]


def test_no_pipeline_has_a_thread_that_tunes_it(data):
    # Ending a pipeline could mean waiting for that thread, for up to a minute.
    pipelines = [
        training_batches(data, 3, 2, seed=7),
        class_pools(data, draws=2, seed=7)(0),
        class_draws(data.labels, seed=7),
        data.evaluation_images(),
    ]
    assert [each.options().autotune.enabled for each in pipelines] == [False] * 4
