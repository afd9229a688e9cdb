import numpy as np
import pytest
from PIL import Image

from ccp_dml.data import ImageFiles, LabeledImages, Preprocessing
from ccp_dml.report import make_thumbnails


def test_images_in_memory(generator):
    images = generator.uniform(size=(5, 8, 6, 1)).astype("float32")
    data = LabeledImages(images, np.arange(5))
    shown = make_thumbnails(data, np.array([3, 1]))
    np.testing.assert_array_equal(shown, np.round(255 * images[[3, 1]]))
    assert make_thumbnails(data, np.array([0]), size=4).shape == (1, 4, 3, 1)


@pytest.mark.parametrize("cache", ["none", "disk"])
def test_images_in_files(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("CCP_DML_CACHE", str(tmp_path / "cache"))
    paths = []
    for number, color in enumerate(["red", "lime", "blue"]):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.new("RGB", (90, 60), color).save(paths[-1])
    data = ImageFiles(np.array(paths), np.arange(3), Preprocessing(40, scaling="bgr"), cache)
    shown = make_thumbnails(data, np.array([2, 0]), size=20)
    assert shown.shape == (2, 20, 20, 3)
    np.testing.assert_array_equal(shown[:, 10, 10], [[0, 0, 255], [255, 0, 0]])
    # A report leaves nothing in the cache.
    assert not (tmp_path / "cache" / "evaluation").exists()
