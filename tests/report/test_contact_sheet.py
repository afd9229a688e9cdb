import numpy as np
import pytest

from ccp_dml.data import LabeledImages
from ccp_dml.report import draw_samples


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
    with pytest.raises(ValueError, match="num_classes must be a whole number of at least 1; got 0"):
        draw_samples(data, num_classes=0, views=1)
