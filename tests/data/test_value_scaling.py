import numpy as np
import pytest

from ccp_dml.data import SCALINGS
from ccp_dml.data.value_scaling import rescale, undo_rescale
from tests.data.pictures import gradient


def test_scalings():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 3)).astype("float32")
    np.testing.assert_allclose(rescale(images, "unit"), images / 255, atol=1e-6)
    np.testing.assert_allclose(rescale(images, "symmetric"), images / 127.5 - 1, atol=1e-6)
    mean = 255 * np.array([0.485, 0.456, 0.406])
    np.testing.assert_allclose(rescale(images, "bgr"), (images - mean)[..., ::-1], atol=1e-4)
    np.testing.assert_array_equal(rescale(images, "raw"), images)
    deviation = 255 * np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(rescale(images, "torch"), (images - mean) / deviation, atol=1e-5)
    for scaling in SCALINGS:
        np.testing.assert_array_equal(undo_rescale(rescale(images, scaling), scaling), images)


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("shape", [(5, 4, 3), (2, 3, 6, 3)])
def test_images_that_are_mirrored_first_are_scaled_alike(shape, scaling, generator):
    images = generator.uniform(0, 255, shape).astype("float32")
    np.testing.assert_array_equal(
        rescale(images[..., ::-1, :], scaling, mirrored=True), rescale(images, scaling)
    )


def test_torch_is_what_keras_feeds_its_networks_from_pytorch():
    from keras.applications import densenet

    images = gradient(5, 6)[None].astype("float32")
    expected = densenet.preprocess_input(images.copy())
    np.testing.assert_allclose(rescale(images, "torch"), expected, atol=1e-5)


def test_bgr_is_what_keras_feeds_its_caffe_networks():
    from keras.applications import resnet

    images = gradient(5, 6)[None].astype("float32")
    expected = resnet.preprocess_input(images.copy())
    # The networks were trained with a mean that is rounded differently.
    np.testing.assert_allclose(rescale(images, "bgr"), expected, atol=0.5)


def test_unknown_scalings_are_named():
    for function in (rescale, undo_rescale):
        with pytest.raises(ValueError, match="one of unit, symmetric, raw, torch, bgr; got 'rgb'"):
            function(np.zeros((1, 1, 3), "float32"), "rgb")
