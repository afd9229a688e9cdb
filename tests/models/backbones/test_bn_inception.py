import sys

import numpy as np
import pytest

from ccp_dml.data import cache_folder
from ccp_dml.models import get_backbone, load_backbone_weights
from ccp_dml.models.backbones.bn_inception import bn_inception, convert_state_dict, main
from ccp_dml.models.backbones.state_dict import convert
from ccp_dml.models.backbones.torch_files import read_state_dict
from tests.cases import slow_except
from tests.models.backbones.naive_inception import (
    NumpyOperations,
    TorchOperations,
    convolutions,
    feature_map,
    random_state_dict,
)


@pytest.fixture(scope="module")
def state_dict():
    return random_state_dict(np.random.default_rng(0))


@pytest.fixture(scope="module")
def network(state_dict):
    network = bn_inception((None, None, 3))
    network.set_weights(convert_state_dict(state_dict))
    return network


def images_of(height, width):
    # The range of pixels minus their mean.
    return np.random.default_rng(1).uniform(-128, 128, (2, height, width, 3)).astype("float32")


def relative_error(actual, expected):
    return np.abs(actual - expected).max() / np.abs(expected).max()


# From 64, every size that is halved is even; from 67 and 99, some are odd.
@pytest.mark.parametrize(("height", "width"), [(64, 64), (67, 99)])
def test_feature_maps_are_those_of_the_table(network, state_dict, height, width):
    images = images_of(height, width)
    expected = feature_map(images.transpose(0, 3, 1, 2), state_dict, NumpyOperations)
    features = np.asarray(network(images, training=False))
    assert features.shape == (2, height // 32, width // 32, 1024)
    assert relative_error(features, expected.transpose(0, 2, 3, 1)) < 1e-5


@pytest.mark.parametrize(("height", "width"), [(64, 99), (227, 227)])
def test_feature_maps_are_those_of_pytorch(network, state_dict, height, width):
    torch = pytest.importorskip("torch")
    images = images_of(height, width)[:1]
    state = {key: torch.from_numpy(array) for key, array in state_dict.items()}
    expected = feature_map(
        torch.from_numpy(images.transpose(0, 3, 1, 2)), state, TorchOperations(torch)
    )
    features = np.asarray(network(images, training=False))
    assert relative_error(features, expected.numpy().transpose(0, 2, 3, 1)) < 1e-5


def test_there_are_as_many_parameters_as_in_the_port():
    network = bn_inception()
    trainable = sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)
    classifier = 1024 * 1000 + 1000
    assert trainable + classifier == 11_295_240
    names = {name for name, *_ in convolutions()}
    assert len(names) == 69
    assert names < {layer.name for layer in network.layers}


@pytest.mark.parametrize(
    ("side", "features"),
    # The smallest and the largest side with one feature, and the paper's.
    slow_except(
        [(31, 1), (38, 1), (227, 7)],
        [(31, 1), (38, 1), (95, 3), (224, 7), (227, 7), (256, 8)],
    ),
)
def test_sizes(side, features):
    assert bn_inception((side, side, 3)).output_shape == (None, features, features, 1024)


@pytest.mark.parametrize("shape", [(30, 64, 3), (64, 39, 3), (8, 8, 1), (6, 227, 3)])
def test_sizes_that_do_not_go_through(shape):
    with pytest.raises(ValueError, match=f"32k . 1 to 32k . 6 .*; got {shape[0]} x {shape[1]}"):
        bn_inception(shape)


def test_batch_normalisation_of_shape_one_by_n(state_dict, network):
    old = {
        key: array[np.newaxis] if "_bn." in key and array.ndim else array
        for key, array in state_dict.items()
        if "num_batches_tracked" not in key
    }
    for one, other in zip(convert_state_dict(old), network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_does_not_fit_is_named(state_dict, network):
    without = dict(state_dict)
    del without["inception_4a_1x1_bn.running_var"]
    with pytest.raises(ValueError, match=r"inception_4a_1x1_bn\.running_var of the 414 needed are"):
        convert_state_dict(without)
    with pytest.raises(ValueError, match=r"conv1_7x7_s2\.weight.* and 409 more of the 414 needed"):
        # As in `convert_state_dict`, which would build the network again.
        convert(
            {f"module.{key}": array for key, array in state_dict.items()}, network, "BN-Inception"
        )
    wrong = {
        **state_dict,
        "conv2_3x3.weight": np.zeros((192, 32, 3, 3)),
        "inception_5b_1x1_bn.bias": np.zeros((352, 1)),
        "conv1_7x7_s2.bias": np.zeros((64, 1, 1)),
    }
    with pytest.raises(ValueError, match="not those of BN-Inception: ") as raised:
        convert(wrong, network, "BN-Inception")
    message = str(raised.value)
    assert "conv2_3x3.weight is (192, 32, 3, 3) instead of (192, 64, 3, 3)" in message
    assert "inception_5b_1x1_bn.bias is (352, 1) instead of (352,)" in message
    assert "conv1_7x7_s2.bias is (64, 1, 1) instead of (64,)" in message
    assert "\n" not in message


def test_our_file_of_imagenet_weights(network, tmp_path, monkeypatch):
    monkeypatch.setenv("CCP_DML_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=r"get http.*bn_inception-52deb4733\.pth") as raised:
        get_backbone("bn_inception", (64, 64, 3), "imagenet")
    message = str(raised.value)
    assert "11,295,240 parameters" in message
    assert str(cache_folder() / "weights" / "bn_inception-52deb4733.pth") in message
    assert "\n" not in message

    (tmp_path / "weights").mkdir()
    network.save_weights(tmp_path / "weights" / "bn_inception_imagenet.weights.h5")
    loaded = get_backbone("bn_inception", (64, 64, 3), "imagenet")
    for one, other in zip(loaded.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("zipped", [False, True])
def test_pytorch_files(network, state_dict, tmp_path, zipped, capsys):
    torch = pytest.importorskip("torch")
    source, target = tmp_path / "port.pth", tmp_path / "new" / "ours.weights.h5"
    tensors = {key: torch.from_numpy(array) for key, array in state_dict.items()}
    torch.save(tensors, source, _use_new_zipfile_serialization=zipped)
    main(["bn_inception", str(source), str(target)])
    assert "ours.weights.h5" in capsys.readouterr().out
    for path in (source, target):
        loaded = bn_inception((64, 64, 3))
        load_backbone_weights(loaded, str(path))
        for one, other in zip(loaded.get_weights(), network.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match=r"vit_b16 take; got the backbone small_convnet"):
        load_backbone_weights(get_backbone("small_convnet", (8, 8, 1)), str(source))


def test_files_that_are_not_pytorch_files(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save([torch.zeros(3)], tmp_path / "list.pth")
    torch.save({"network": torch.nn.Linear(2, 3)}, tmp_path / "code.pth")
    torch.save({"one": torch.zeros(3)}, tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("not weights")
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "half.pth").write_bytes((tmp_path / "other.pth").read_bytes()[:200])
    for name in ("code", "text", "empty", "half"):
        with pytest.raises(ValueError, match=f"{name}.pth is not a file of PyTorch weights"):
            read_state_dict(tmp_path / f"{name}.pth")
    with pytest.raises(ValueError, match=r"list.pth does not hold tensors by name"):
        read_state_dict(tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"other.pth: .* conv1_7x7_s2.weight, .* missing"):
        load_backbone_weights(bn_inception(), str(tmp_path / "other.pth"))


def test_pytorch_files_without_pytorch(network, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "port.pth").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r'port.pth requires PyTorch: pip install "ccp_dml\[torch\]"'
    ):
        load_backbone_weights(network, str(tmp_path / "port.pth"))


# In this process; `tests/test_program_start.py` runs another program as a process.
def test_the_command_stops_with_one_line(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["bn_inception", "missing.pth", "out.weights.h5"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == "ccp_dml: there is no file missing.pth"


@pytest.mark.parametrize("arguments", [[], ["in.pth"], ["in.pth", "out.h5"]])
def test_the_command_says_how_it_is_used(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["bn_inception", *arguments])
    assert stopped.value.code == 2
    assert "in.pth out.weights.h5; got" in capsys.readouterr().err
