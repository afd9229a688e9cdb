"""The networks that take timm's weights compute what timm computes."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from ccp_dml.data.value_scaling import rescale
from ccp_dml.models import get_backbone, value_scaling

if importlib.util.find_spec("timm") is None:
    pytest.skip("timm is not installed", allow_module_level=True)

ROOT = pathlib.Path(__file__).parents[3]
NAMES = {"resnet50_v1_5": "resnet50", "vit_b16": "vit_base_patch16_224"}


@pytest.fixture(scope="module", params=NAMES)
def written(request, tmp_path_factory):
    """Our name for a network, and the folder with its weights and features from timm."""
    folder = tmp_path_factory.mktemp(request.param)
    program = "tests.models.backbones.timm_networks"
    arguments = [sys.executable, "-m", program, NAMES[request.param], folder]
    subprocess.run(arguments, cwd=ROOT, check=True)
    return request.param, folder


@pytest.mark.parametrize("file_name", ["network.pth", "checkpoint.pth"])
def test_features_are_those_of_timm(written, file_name):
    name, folder = written
    backbone = get_backbone(name, (64, 64, 3), str(folder / file_name))
    with np.load(folder / "features.npz") as arrays:
        found = backbone.predict(arrays["images"], verbose=0)
        expected = arrays["features"]
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    # The features are not all alike.
    assert expected.std(axis=0).max() > 1e-2 * np.abs(expected).max()


def test_values_are_scaled_as_timm_says(written):
    name, folder = written
    config = json.loads((folder / "scaling.json").read_text())
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 2, 3)).astype("float32")
    expected = (pixels / 255 - config["mean"]) / config["std"]
    np.testing.assert_allclose(rescale(pixels, value_scaling(name)), expected, rtol=1e-4, atol=1e-4)


def test_weights_for_images_of_another_size_are_refused(written):
    name, folder = written
    if name != "vit_b16":
        pytest.skip("a convolutional network takes images of any size")
    with pytest.raises(ValueError, match=r"of this size: pos_embed is \(1, 17, 768\) instead of"):
        get_backbone(name, (96, 96, 3), str(folder / "network.pth"))
