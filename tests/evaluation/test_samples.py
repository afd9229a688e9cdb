"""Retrieval of a model on labelled samples, and on pairs of inputs and labels."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ccp_dml.data import ImageFiles, LabeledImages, Preprocessing
from ccp_dml.evaluation import evaluate_retrieval, retrieval_metrics, unpack_samples
from tests import naive
from tests.data.pictures import encoded, gradient

pytestmark = pytest.mark.both_backends(slow=True)

SHAPE = (6, 6, 3)
LABELS = np.array([5, 5, 9, 9, 9, 2, 2, 5, 2])


@pytest.fixture
def kernel(generator):
    return generator.normal(0, 0.1, (np.prod(SHAPE), 4)).astype("float32")


@pytest.fixture
def model(kernel):
    layers = [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(4, use_bias=False)]
    model = keras.Sequential(layers)
    model.set_weights([kernel])
    return model


@pytest.fixture
def images(generator):
    return generator.uniform(0, 1, (9, *SHAPE)).astype("float32")


def expect(images, kernel, **options):
    embeddings = naive.normalize(images.reshape(len(images), -1) @ kernel)
    return retrieval_metrics(embeddings, LABELS, **options)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda images: LabeledImages(images, LABELS),
        lambda images: (images, LABELS),
        lambda images: (tf.data.Dataset.from_tensor_slices(images).batch(4), LABELS),
        lambda images: (images, LABELS[:, None]),
    ],
    ids=["samples", "arrays", "batches", "column"],
)
def test_all_kinds_of_samples_give_the_same(wrap, model, images, kernel):
    measured = evaluate_retrieval(model, wrap(images), recall_at=(1, 3), batch_size=4)
    assert measured == pytest.approx(expect(images, kernel, recall_at=(1, 3)), abs=1e-6)


def test_files_are_prepared_as_a_network_takes_them(tmp_path, model, kernel):
    pictures = [gradient(6, 6, seed) for seed in range(9)]
    paths = [tmp_path / f"{number}.png" for number in range(9)]
    for path, pixels in zip(paths, pictures, strict=True):
        path.write_bytes(encoded(pixels, "PNG"))
    # In −1…1, and nothing is resized or cut off.
    preprocessing = Preprocessing(6, resize_size=6, scaling="symmetric")
    files = ImageFiles(np.array([str(path) for path in paths]), LABELS, preprocessing)
    values = np.stack(pictures).astype("float32") / 127.5 - 1
    assert evaluate_retrieval(model, files) == pytest.approx(expect(values, kernel), abs=1e-5)


def test_a_gallery_is_searched_instead(model, images, kernel):
    gallery = LabeledImages(images[::-1] ** 2, LABELS[::-1])
    embedded = naive.normalize(gallery.images.reshape(9, -1) @ kernel)
    expected = expect(images, kernel, gallery_embeddings=embedded, gallery_labels=gallery.labels)
    measured = evaluate_retrieval(model, (images, LABELS), gallery)
    assert measured == pytest.approx(expected, abs=1e-6)
    assert measured != pytest.approx(expect(images, kernel), abs=1e-3)


def test_inputs_that_are_not_samples_are_named():
    with pytest.raises(ValueError, match=r"or a pair \(inputs, labels\); got ndarray"):
        unpack_samples(np.zeros((2, *SHAPE)))
    with pytest.raises(ValueError, match=r"labels \(n,\); got labels of shape \(2, 3\)"):
        unpack_samples((np.zeros((2, *SHAPE)), np.zeros((2, 3))))
    with pytest.raises(ValueError, match="one label for each input; got 3 inputs and 2 labels"):
        unpack_samples((np.zeros((3, *SHAPE)), np.zeros(2)))
