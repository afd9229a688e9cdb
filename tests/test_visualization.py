import keras
import numpy as np
import pytest

from ccp_dml.callbacks import ProgressLine
from ccp_dml.data import LabeledImages
from ccp_dml.evaluation import pair_distances
from ccp_dml.projections import RoundEnd
from ccp_dml.report import RoundSnapshot, draw_rounds, draw_samples


def test_pair_distances_are_those_of_the_pairs(generator):
    embeddings, labels = generator.standard_normal((30, 4)), np.arange(30) % 3
    positive, negative = pair_distances(embeddings, labels)
    assert len(positive) == 30 * 9
    assert len(negative) == 30 * 20
    distances = np.linalg.norm(embeddings[:, None] - embeddings[None], axis=2)
    same = labels[:, None] == labels[None]
    np.testing.assert_allclose(np.sort(negative), np.sort(distances[~same]), rtol=1e-4)


def test_pair_distances_of_many_classes_keep_positive_pairs(generator):
    labels = np.arange(20_000) % 5_000
    positive, _ = pair_distances(generator.standard_normal((20_000, 4)), labels)
    assert len(positive) == 1000 * 3


def test_a_figure_has_a_panel_a_round(generator):
    snapshots = []
    for number in range(3):
        proxies, following = generator.standard_normal((2, 4, 3, 2))
        end = RoundEnd(number, proxies, following, proxies, 0.5, 0.25)
        embeddings = generator.uniform(-0.7, 0.7, (20, 2))
        snapshots.append(RoundSnapshot(end, embeddings, np.arange(20) % 4))
    figure = draw_rounds(snapshots)
    titles = [panel.get_title() for panel in figure.axes]
    assert [title.split("\n")[0] for title in titles] == [
        "without CCP: end of round 0",
        "CCP: end of round 1",
        "CCP: end of round 2",
    ]
    samples, converged, following = figure.axes[1].collections
    np.testing.assert_allclose(samples.get_offsets(), snapshots[1].embeddings)
    assert len(converged.get_offsets()) == len(following.get_offsets()) == 12
    with pytest.raises(ValueError, match="nothing to draw"):
        draw_rounds([])


def test_progress_shows_steps_and_metrics(capsys):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(
        np.ones((6, 1)),
        np.ones((6, 1)),
        batch_size=2,
        epochs=2,
        verbose=0,
        callbacks=[ProgressLine("plain", total_steps=6)],
    )
    shown = capsys.readouterr().err
    assert "plain" in shown
    assert "6/6" in shown
    assert "loss=" in shown


def test_the_contact_sheet_shows_samples_as_they_are_seen():
    labels = np.repeat([2, 5, 9, 11], 3)
    images = (labels[:, None, None, None] / 12 * np.ones((1, 4, 4, 1))).astype("float32")
    data = LabeledImages(images, labels, augmentation=lambda batch, seed: batch / 2)
    figure = draw_samples(data, num_classes=3, views=2)
    rows = np.reshape(figure.axes, (3, 3))
    assert [panel.get_title() for panel in rows[:, 0]] == ["2", "9", "11"]
    for panels, label in zip(rows, (2, 9, 11), strict=True):
        shown = [panel.images[0].get_array() for panel in panels]
        for image, expected in zip(shown, [label, label / 2, label / 2], strict=True):
            np.testing.assert_allclose(image, 255 * expected / 12, atol=1)
    assert len(draw_samples(data, num_classes=100, views=1).axes) == 8


def test_names_of_classes_are_on_the_contact_sheet():
    data = LabeledImages(np.zeros((4, 2, 2, 3), "float32"), np.array([0, 0, 1, 1]))
    figure = draw_samples(data, class_names=("ant", "bee"), views=1)
    assert [panel.get_title() for panel in figure.axes[::2]] == ["ant", "bee"]
    with pytest.raises(ValueError, match="num_classes must be at least 1; got 0"):
        draw_samples(data, num_classes=0, views=1)
