"""Galleries as TensorBoard shows them."""

import dataclasses
import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ccp_dml.report import write_galleries
from ccp_dml.report.retrieval_gallery import choose_queries
from ccp_dml.report.tensorboard_galleries import draw_gallery
from tests.report.retrieval_cases import make_retrievers, make_samples

GREEN, RED = [44, 159, 94], [214, 62, 57]


@pytest.fixture(params=[False, True], ids=["among themselves", "in a gallery"])
def case(request, generator):
    labels = 20 * generator.integers(0, 6, 50)
    gallery_labels = 20 * generator.integers(0, 6, 40) if request.param else None
    samples = make_samples(labels, gallery_labels)
    (retriever,) = make_retrievers(samples, generator, noise=[1.5])
    return retriever, samples


def test_right_ones_are_green_and_wrong_ones_red(case):
    retriever, samples = case
    queries = np.array([3, 7, 11])
    drawn = draw_gallery(retriever, samples, queries)
    assert drawn.shape == (3 * 72, 80 + 10 * 72, 3)
    for row, query in enumerate(queries):
        middle = row * 72 + 36
        assert (drawn[middle, 36] == samples.labels[query]).all()
        for rank, neighbor in enumerate(retriever.found.nearest[query]):
            label = samples.searched_labels[neighbor]
            left = 80 + rank * 72
            assert (drawn[middle, left + 36] == label).all()
            is_right = label == samples.labels[query]
            assert drawn[middle, left + 2].tolist() == (GREEN if is_right else RED)


def read_images(folder):
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    found = {}
    for tag in events.Tags()["tensors"]:
        (event,) = events.Tensors(tag)
        _, _, content = tf.make_ndarray(event.tensor_proto)
        found[tag] = event.step, np.asarray(Image.open(io.BytesIO(content)))
    return found


def test_a_training_that_ends_twice_has_its_galleries_once(case, tmp_path):
    retriever, samples = case
    write_galleries(tmp_path / "galleries", retriever, samples, step=100)
    write_galleries(tmp_path / "galleries", retriever, samples, step=200)
    images = read_images(tmp_path / "galleries")
    assert list(images) == ["retrieval/easy", "retrieval/typical", "retrieval/failed"]
    for kind, rows in choose_queries(retriever, samples, 4).items():
        step, drawn = images[f"retrieval/{kind}"]
        assert step == 200
        np.testing.assert_array_equal(drawn, draw_gallery(retriever, samples, rows))


def test_images_are_loaded_once(case, tmp_path):
    retriever, samples = case
    loaded = []

    def load_images(rows, from_gallery):
        loaded.append(from_gallery)
        return samples.load(rows, from_gallery)

    counted = dataclasses.replace(samples, load_images=load_images)
    write_galleries(tmp_path / "galleries", retriever, counted, step=100)
    assert loaded == ([False] if samples.gallery_labels is None else [False, True])
