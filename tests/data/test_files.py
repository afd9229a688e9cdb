import dataclasses
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from ccp_dml.data import (
    SCALINGS,
    ImageFiles,
    Preprocessing,
    cache_folder,
    compose_augmentation,
    files,
    training_batches,
)
from ccp_dml.data.pipelines import class_pools
from ccp_dml.data.preprocessing import evaluation_image, training_image
from ccp_dml.data.value_scaling import rescale
from tests.data.pictures import encoded, gradient

SMALL = Preprocessing(16, resize_size=18, scaling="symmetric")


@pytest.fixture
def paths(tmp_path):
    for number in range(20):
        (tmp_path / f"{number}.jpg").write_bytes(encoded(gradient(24, 30, seed=number)))
    return np.array([str(tmp_path / f"{number}.jpg") for number in range(20)])


@pytest.fixture
def data(paths):
    return ImageFiles(paths, np.arange(20) // 5, SMALL)


def batches_of(*batches):
    return tf.data.Dataset.from_generator(
        lambda: iter(batches), output_signature=tf.TensorSpec([None], tf.int64)
    )


def images_of(dataset):
    return np.concatenate(list(dataset.as_numpy_iterator()))


def test_training_examples_are_the_files_that_were_drawn(data):
    batches = batches_of([3, 9, 3], [14])
    examples = list(data.training_examples(batches, 3, tf.constant([1, 2], tf.int64)))
    assert [tuple(images.shape) for images, _ in examples] == [(3, 16, 16, 3), (1, 16, 16, 3)]
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in examples]), [0, 1, 0, 2])
    images = np.concatenate([images for images, _ in examples])
    assert images.min() >= -1
    assert images.max() <= 1
    # Both are of the same file, but augmented differently.
    assert np.abs(images[0] - images[2]).max() > 0.05
    # Each is one of the images that training_image can make of its file.
    seeds = [tf.constant([number, 0], tf.int64) for number in range(400)]
    contents = tf.io.read_file(data.paths[9])
    make = tf.function(
        lambda seed: rescale(training_image(contents, seed, SMALL), "symmetric"), autograph=False
    )
    possible = [make(seed) for seed in seeds]
    assert min(np.abs(images[1] - image).mean() for image in possible) < 0.05


def test_padded_pictures_are_trained_on(data):
    padded = data.with_preprocessing(Preprocessing(16, fit="pad", background="black"))
    images = images_of(
        padded.training_examples(batches_of([3, 9, 5]), 3, tf.constant([1, 2], tf.int64)).map(
            lambda images, _: images
        )
    )
    assert images.shape == (3, 16, 16, 3)
    whole = images_of(padded.evaluation_images())
    assert whole.shape == (len(data), 16, 16, 3)
    # The pictures are wider than they are high.
    assert np.all(whole[:, 0] == 0)
    assert np.all(whole[:, 8] > 0)


def test_the_seed_fixes_the_images_whatever_the_parallelism(data):
    def drawn(seed, threads):
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        batches = training_batches(data, 4, 5, seed).with_options(options).take(6)
        return [(images.numpy(), labels.numpy()) for images, labels in batches]

    alone, together = drawn(0, threads=1), drawn(0, threads=8)
    for (one, labels), (other, same_labels) in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(labels, same_labels)
    assert (alone[0][0] != drawn(1, threads=8)[0][0]).any()
    assert (alone[0][0] != alone[1][0]).any()


def test_images_are_augmented_after_the_crop_and_before_the_scaling(data):
    seen = []

    def invert(image, seed):
        seen.append((image.shape, image.dtype, seed.shape))
        return 255 - image

    inverted = dataclasses.replace(data, augmentation=invert).subset(np.arange(20))
    for (plain, _), (changed, _) in zip(
        training_batches(data, 4, 5, 0).take(2),
        training_batches(inverted, 4, 5, 0).take(2),
        strict=True,
    ):
        np.testing.assert_allclose(changed, -plain, atol=1e-5)
    assert seen == [((16, 16, 3), tf.float32, (2,))]
    # Evaluation does not augment.
    np.testing.assert_array_equal(
        images_of(inverted.evaluation_images()), images_of(data.evaluation_images())
    )


def test_augmentation_depends_on_the_seed_and_the_step(data):
    augmentation = compose_augmentation(16, color_jitter={"hue": 0.3}, random_erasing=0.5)
    augmented = dataclasses.replace(data, augmentation=augmentation)

    def drawn(threads, first_step=0):
        options = tf.data.Options()
        options.threading.private_threadpool_size = threads
        batches = training_batches(augmented, 4, 5, 0, first_step).with_options(options)
        return [images.numpy() for images, _ in batches.take(4)]

    alone, together, resumed = drawn(1), drawn(8), drawn(8, first_step=2)
    np.testing.assert_array_equal(alone, together)
    np.testing.assert_array_equal(alone[2:], resumed[:2])


def test_pools_come_in_class_order_from_files(data):
    pool = class_pools(data, draws=3, seed=0)(0)
    labels = np.concatenate([labels for _, labels in pool])
    np.testing.assert_array_equal(labels, [0, 1, 2, 3] * 3)


def test_only_what_is_drawn_is_read(data, paths):
    for number in set(range(20)) - {2, 7}:
        os.remove(paths[number])
    examples = data.training_examples(batches_of([7, 2]), 2, tf.constant([0, 0], tf.int64))
    ((images, _),) = examples
    assert np.isfinite(images).all()


def test_evaluation_images_are_all_in_order(data, paths):
    expected = [
        rescale(evaluation_image(tf.io.read_file(path), SMALL), "symmetric") for path in paths
    ]
    batches = list(data.evaluation_images(batch_size=8))
    assert [len(batch) for batch in batches] == [8, 8, 4]
    assert data.evaluation_images(batch_size=8).cardinality() == 3
    np.testing.assert_array_equal(np.concatenate(batches), expected)


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_caches_do_not_change_the_numbers(data, paths, cache):
    cached = ImageFiles(paths, data.labels, SMALL, cache)
    indices = np.array([4, 11, 19])
    for one, other in [(data, cached), (data.subset(indices), cached.subset(indices))]:
        for _ in range(2):
            np.testing.assert_array_equal(
                images_of(one.evaluation_images(8)), images_of(other.evaluation_images(8))
            )
    seed = tf.constant([0, 0], tf.int64)
    for one, other in zip(
        data.training_examples(batches_of([1, 2], [3]), 2, seed),
        cached.training_examples(batches_of([1, 2], [3]), 2, seed),
        strict=True,
    ):
        np.testing.assert_array_equal(one[0], other[0])
    assert cached.evaluation_images(8).cardinality() == 3


def test_memory_holds_what_was_read(paths):
    data = ImageFiles(paths, np.arange(20), SMALL, "memory")
    seed = tf.constant([0, 0], tf.int64)
    before = images_of(data.evaluation_images())
    trained = images_of(data.training_examples(batches_of([5, 6]), 2, seed).map(lambda x, _: x))
    for path in paths:
        os.remove(path)
    np.testing.assert_array_equal(images_of(data.evaluation_images()), before)
    again = data.training_examples(batches_of([5, 6]), 2, seed).map(lambda x, _: x)
    np.testing.assert_array_equal(images_of(again), trained)


def test_the_disk_holds_crops_from_one_run_to_the_next(paths, monkeypatch):
    def crops():
        return images_of(ImageFiles(paths, np.arange(20), SMALL, "disk").evaluation_images())

    before = crops()
    with monkeypatch.context() as patch:
        patch.setattr(files, "_decode_crops", None)
        np.testing.assert_array_equal(crops(), before)
    # A file that was changed is read again, even if its size is the same.
    contents = bytearray(pathlib.Path(paths[3]).read_bytes())
    pathlib.Path(paths[3]).write_bytes(encoded(gradient(24, 30, seed=99)).ljust(len(contents)))
    os.truncate(paths[3], len(contents))
    os.utime(paths[3], ns=(0, 0))
    after = crops()
    changed = [number for number in range(20) if (after[number] != before[number]).any()]
    assert changed == [3]
    assert not list((cache_folder() / "evaluation").glob("*.tmp"))
    # A damaged cache is made again.
    (newest, *_) = sorted(
        (cache_folder() / "evaluation").iterdir(), key=lambda path: -path.stat().st_mtime_ns
    )
    newest.write_bytes(newest.read_bytes()[:50])
    np.testing.assert_array_equal(crops(), after)


def test_an_interruption_leaves_no_half_cache(paths, monkeypatch):
    def interrupted(self):
        yield np.ones((16, 16, 3), "uint8")
        raise KeyboardInterrupt

    data = ImageFiles(paths[:7], np.arange(7), SMALL, "disk")
    before = images_of(ImageFiles(paths[:7], np.arange(7), SMALL).evaluation_images())
    with monkeypatch.context() as patch:
        patch.setattr(ImageFiles, "_decode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            data.evaluation_images()
    np.testing.assert_array_equal(images_of(data.evaluation_images()), before)


@pytest.mark.parametrize("cache", ["none", "memory", "disk"])
def test_remote_files(paths, cache, monkeypatch):
    # TensorFlow's in-memory file system stands in for a bucket.
    remote = np.array([f"ram://{cache}/{number}.jpg" for number in range(20)])
    for path, url in zip(paths, remote, strict=True):
        tf.io.gfile.copy(path, url, overwrite=True)
    local, data = (ImageFiles(where, np.arange(20), SMALL, cache) for where in (paths, remote))
    np.testing.assert_array_equal(
        images_of(local.evaluation_images()), images_of(data.evaluation_images())
    )
    seed = tf.constant([0, 0], tf.int64)

    def trained(files_of):
        return images_of(
            files_of.training_examples(batches_of([5, 6]), 2, seed).map(lambda x, _: x)
        )

    expected = trained(local)
    np.testing.assert_array_equal(trained(data), expected)
    if cache == "disk":
        with monkeypatch.context() as patch:
            patch.setattr(tf.io.gfile, "copy", None)
            copies = ImageFiles(remote, np.arange(20), SMALL, "disk")
            np.testing.assert_array_equal(trained(copies), expected)
        # A file that was changed is copied and cropped again.
        tf.io.gfile.remove(remote[5])
        tf.io.gfile.copy(paths[7], remote[5])
        again = ImageFiles(remote, np.arange(20), SMALL, "disk")
        assert (trained(again)[0] != expected[0]).any()
        assert (
            images_of(again.evaluation_images())[5] == images_of(local.evaluation_images())[7]
        ).all()


def test_every_step_augments_anew(data):
    seed = tf.constant([0, 0], tf.int64)
    first, second = data.training_examples(batches_of([5, 6], [5, 6]), 2, seed)
    assert np.abs(first[0] - second[0]).max() > 0.05


def test_a_cache_that_cannot_be_written_to_is_named(paths, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CCP_DML_CACHE", str(tmp_path / "file" / "cache"))
    data = ImageFiles(paths, np.arange(20), SMALL, "disk")
    with pytest.raises(OSError, match=r"cannot be written to .*CCP_DML_CACHE"):
        data.evaluation_images()


def test_files_of_rare_formats_are_as_pillow_reads_them(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    options = {
        "WEBP": {"lossless": True, "exif": turned.tobytes()},
        "GIF": {},
        "BMP": {},
    }
    paths, expected = [], []
    for number, (kind, options_of_kind) in enumerate(options.items()):
        path = tmp_path / str(number)
        path.write_bytes(encoded(gradient(16, 16, seed=number), kind, **options_of_kind))
        paths.append(str(path))
        with Image.open(path) as picture:
            expected.append(np.asarray(ImageOps.exif_transpose(picture).convert("RGB")))
    whole = Preprocessing(16, resize_size=16, scaling="raw", crop_area=(1.0, 1.0), flip=False)
    data = ImageFiles(np.array(paths), np.arange(3), whole)
    np.testing.assert_array_equal(images_of(data.evaluation_images()), expected)
    ((images, _),) = data.training_examples(batches_of([0, 1, 2]), 3, tf.constant([1, 2], tf.int64))
    np.testing.assert_array_equal(images, expected)


def test_damaged_files_of_rare_formats_end_a_pipeline(tmp_path):
    path = tmp_path / "damaged.gif"
    path.write_bytes(encoded(gradient(16, 16), "GIF")[:13])
    data = ImageFiles(np.array([str(path)]), np.arange(1), SMALL)
    with pytest.raises(tf.errors.InvalidArgumentError, match="a GIF without an image"):
        list(data.evaluation_images())


def test_displayable_images_are_those_of_the_file(paths):
    for scaling in SCALINGS:
        preprocessing = Preprocessing(16, resize_size=18, scaling=scaling)
        data = ImageFiles(paths, np.arange(20), preprocessing)
        shown = data.displayable(images_of(data.evaluation_images()))
        expected = [evaluation_image(tf.io.read_file(path), preprocessing) for path in paths[:4]]
        np.testing.assert_array_equal(shown[:4], expected)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"got \(2,\) and \(3,\)"):
        ImageFiles(np.array(["a", "b"]), np.zeros(3))
    with pytest.raises(ValueError, match="cache must be one of none, memory, disk; got 'ram'"):
        ImageFiles(np.array(["a"]), np.zeros(1), cache="ram")
