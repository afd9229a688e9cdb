"""The networks that take weights of timm compute what timm computes."""

import numpy as np
import pytest

from ccp_dml.data.value_scaling import rescale
from ccp_dml.models import get_backbone, value_scaling

timm = pytest.importorskip("timm")
torch = pytest.importorskip("torch")

NAMES = {"resnet50_v1_5": ("resnet50", {}), "vit_b16": ("vit_base_patch16_224", {"img_size": 64})}


@pytest.fixture(params=NAMES)
def pair(request):
    """A network of timm with random weights that differ everywhere, and our name for it."""
    torch.manual_seed(0)
    name, options = NAMES[request.param]
    network = timm.create_model(name, pretrained=False, **options).eval()
    with torch.no_grad():
        for parameter in [*network.parameters(), *network.buffers()]:
            if parameter.is_floating_point():
                parameter += 0.05 * parameter.abs().mean() * torch.randn_like(parameter)
    return request.param, network


@pytest.mark.parametrize("wrapped", [False, True])
def test_features_are_those_of_timm(pair, wrapped, tmp_path, generator):
    name, network = pair
    state = network.state_dict()
    torch.save({"epoch": 3, "state_dict": state} if wrapped else state, tmp_path / "network.pth")
    backbone = get_backbone(name, (64, 64, 3), str(tmp_path / "network.pth"))
    images = generator.uniform(-2, 2, (2, 64, 64, 3)).astype("float32")
    with torch.no_grad():
        expected = network.forward_features(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
    if expected.ndim == 4:
        expected = expected.transpose(0, 2, 3, 1)
    found = backbone.predict(images, verbose=0)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_values_are_scaled_as_timm_says(pair):
    name, network = pair
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 2, 3)).astype("float32")
    config = network.pretrained_cfg
    expected = (pixels / 255 - config["mean"]) / config["std"]
    np.testing.assert_allclose(rescale(pixels, value_scaling(name)), expected, rtol=1e-4, atol=1e-4)


def test_weights_for_images_of_another_size_are_refused(pair, tmp_path):
    name, network = pair
    if name != "vit_b16":
        pytest.skip("a convolutional network takes images of any size")
    torch.save(network.state_dict(), tmp_path / "network.pth")
    with pytest.raises(ValueError, match=r"of this size: pos_embed is \(1, 17, 768\) instead of"):
        get_backbone(name, (96, 96, 3), str(tmp_path / "network.pth"))
