"""timm's weights by name, here as arrays; `test_timm.py` compares with timm itself."""

import keras
import numpy as np
import pytest

from ccp_dml.models import get_backbone
from ccp_dml.models.backbones import vision_transformer
from ccp_dml.models.backbones.state_dict import convert
from tests.cases import slow_except

# An eighth of the width of the transformer, which is about a hundredth of its weights.
CHANNELS, HIDDEN, HEADS = 96, 384, 12


def norm(name, channels):
    return {f"{name}.{part}": (channels,) for part in ("weight", "bias")}


def batch_norm(name, channels):
    moving = {f"{name}.{part}": (channels,) for part in ("running_mean", "running_var")}
    return {**norm(name, channels), **moving, f"{name}.num_batches_tracked": ()}


def resnet_shapes():
    """The names and shapes of timm's and torchvision's resnet50."""
    shapes = {"conv1.weight": (64, 3, 7, 7), **batch_norm("bn1", 64)}
    before = 64
    for stage, (blocks, channels) in enumerate([(3, 64), (4, 128), (6, 256), (3, 512)], start=1):
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            shapes[f"{name}.conv1.weight"] = (channels, before, 1, 1)
            shapes[f"{name}.conv2.weight"] = (channels, channels, 3, 3)
            shapes[f"{name}.conv3.weight"] = (4 * channels, channels, 1, 1)
            for number, of_norm in enumerate([channels, channels, 4 * channels], start=1):
                shapes |= batch_norm(f"{name}.bn{number}", of_norm)
            if block == 0:
                shapes[f"{name}.downsample.0.weight"] = (4 * channels, before, 1, 1)
                shapes |= batch_norm(f"{name}.downsample.1", 4 * channels)
            before = 4 * channels
    return {**shapes, "fc.weight": (1000, 2048), "fc.bias": (1000,)}


def linear(name, outputs, inputs):
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def vit_shapes(tokens):
    """The names and shapes of timm's vit_base_patch16_224, but of another width."""
    shapes = {
        "cls_token": (1, 1, CHANNELS),
        "pos_embed": (1, tokens, CHANNELS),
        "patch_embed.proj.weight": (CHANNELS, 3, 16, 16),
        "patch_embed.proj.bias": (CHANNELS,),
    }
    for block in range(12):
        name = f"blocks.{block}"
        shapes |= {
            **norm(f"{name}.norm1", CHANNELS),
            **linear(f"{name}.attn.qkv", 3 * CHANNELS, CHANNELS),
            **linear(f"{name}.attn.proj", CHANNELS, CHANNELS),
            **norm(f"{name}.norm2", CHANNELS),
            **linear(f"{name}.mlp.fc1", HIDDEN, CHANNELS),
            **linear(f"{name}.mlp.fc2", CHANNELS, HIDDEN),
        }
    return {**shapes, **norm("norm", CHANNELS), **linear("head", 1000, CHANNELS)}


# Their shapes, and the standard deviations of matrices that keep outputs near 1.
NETWORKS = {
    "resnet50_v1_5": (resnet_shapes(), 0.02),
    "vit_b16": (vit_shapes(tokens=5), 0.06),
}
UNUSED = ("fc.", "head.", "num_batches_tracked")


class Recorder(dict):
    """Records which of its items were looked up."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.used = set()

    def __getitem__(self, key):
        self.used.add(key)
        return super().__getitem__(key)


def random_state(shapes, scale_of_matrices, generator):
    state = {}
    for name, shape in shapes.items():
        scale = scale_of_matrices if len(shape) > 1 else 0.1
        array = scale * generator.standard_normal(shape)
        is_scale = name.endswith("weight") and len(shape) == 1
        state[name] = np.abs(array) + 0.5 if is_scale or "running_var" in name else array
    return state


@pytest.fixture(scope="module", params=NETWORKS)
def converted(request):
    """A network, and the state dict that its weights are from."""
    state = Recorder(random_state(*NETWORKS[request.param], np.random.default_rng(0)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vision_transformer, "_CHANNELS", CHANNELS)
        patch.setattr(vision_transformer, "_HIDDEN", HIDDEN)
        network = get_backbone(request.param, (32, 32, 3))
    network.set_weights(convert(state, network, "the network"))
    return network, state


def test_every_weight_is_used_once(converted):
    network, state = converted
    expected = {name for name in state if not any(part in name for part in UNUSED)}
    assert state.used == expected
    # Sums tell whether a weight was taken twice and another left out.
    total = sum(float(state[name].sum()) for name in expected)
    assert sum(float(weight.sum()) for weight in network.get_weights()) == pytest.approx(
        total, rel=1e-3
    )
    size = sum(state[name].size for name in expected)
    assert sum(weight.size for weight in network.get_weights()) == size


def part_of(network, name):
    """A model of the outputs of the layer before a block, and of the block's last layer."""
    layers = {layer.name: layer for layer in network.layers}
    return keras.Model(network.input, [layers[each].output for each in name])


def gelu(values):
    from scipy.special import erf

    return values * 0.5 * (1 + erf(values / np.sqrt(2)))


def layer_norm(values, state, name):
    offsets = values - values.mean(-1, keepdims=True)
    scaled = offsets / np.sqrt((offsets**2).mean(-1, keepdims=True) + 1e-6)
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def dense(values, state, name):
    return values @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def test_a_block_of_the_transformer_in_numpy(converted, generator):
    network, state = converted
    if network.name != "vit_b16":
        pytest.skip("the other network has other blocks")
    images = generator.uniform(-1, 1, (2, 32, 32, 3)).astype("float32")
    patches = images.reshape(2, 2, 16, 2, 16, 3).transpose(0, 1, 3, 5, 2, 4).reshape(2, 4, -1)
    kernel = state["patch_embed.proj.weight"].reshape(CHANNELS, -1)
    tokens = patches @ kernel.T + state["patch_embed.proj.bias"]
    first = np.broadcast_to(state["cls_token"], (2, 1, CHANNELS))
    tokens = np.concatenate([first, tokens], axis=1) + state["pos_embed"]

    normalized = layer_norm(tokens, state, "blocks.0.norm1")
    qkv = dense(normalized, state, "blocks.0.attn.qkv").reshape(2, 5, 3, HEADS, -1)
    queries, keys, values = qkv.transpose(2, 0, 3, 1, 4)
    scores = np.exp(queries @ keys.transpose(0, 1, 3, 2) / np.sqrt(CHANNELS // HEADS))
    attended = (scores / scores.sum(-1, keepdims=True) @ values).transpose(0, 2, 1, 3)
    between = tokens + dense(attended.reshape(2, 5, CHANNELS), state, "blocks.0.attn.proj")
    hidden = gelu(dense(layer_norm(between, state, "blocks.0.norm2"), state, "blocks.0.mlp.fc1"))
    after = between + dense(hidden, state, "blocks.0.mlp.fc2")

    found = part_of(network, ["embed", "blocks.0.add2"])(images, training=False)
    for array, expected in zip(found, (tokens, after), strict=True):
        np.testing.assert_allclose(array, expected, rtol=1e-3, atol=1e-3)


def test_the_block_that_halves_in_numpy(converted, generator):
    network, state = converted
    if network.name != "resnet50_v1_5":
        pytest.skip("the other network has other blocks")
    images = generator.uniform(-1, 1, (1, 32, 32, 3)).astype("float32")
    model = part_of(network, ["layer1.2.act3", "layer2.0.act3"])
    before, found = map(np.asarray, model(images, training=False))

    def normalize(values, name):
        scale = state[f"{name}.weight"] / np.sqrt(state[f"{name}.running_var"] + 1e-5)
        return (values - state[f"{name}.running_mean"]) * scale + state[f"{name}.bias"]

    def pointwise(values, name):
        return values @ state[f"{name}.weight"][:, :, 0, 0].T

    reduced = np.maximum(normalize(pointwise(before, "layer2.0.conv1"), "layer2.0.bn1"), 0)
    # Each window is two pixels from the next: the resolution is halved here, not before.
    padded = np.pad(reduced, [(0, 0), (1, 1), (1, 1), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))[:, ::2, ::2]
    convolved = np.einsum("bhwiyx,oiyx->bhwo", windows, state["layer2.0.conv2.weight"])
    convolved = np.maximum(normalize(convolved, "layer2.0.bn2"), 0)
    widened = normalize(pointwise(convolved, "layer2.0.conv3"), "layer2.0.bn3")
    past = normalize(
        pointwise(before[:, ::2, ::2], "layer2.0.downsample.0"), "layer2.0.downsample.1"
    )
    expected = np.maximum(widened + past, 0)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * expected.max())


# The other network has only Keras's own layers.
@pytest.mark.parametrize("converted", slow_except(["vit_b16"], list(NETWORKS)), indirect=True)
def test_networks_are_saved(converted, tmp_path, generator):
    network, _ = converted
    network.save(tmp_path / "network.keras")
    copy = keras.models.load_model(tmp_path / "network.keras")
    images = generator.uniform(-1, 1, (1, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(copy(images, training=False), network(images, training=False))


def test_what_does_not_fit_is_named(converted):
    network, state = converted
    name = "layer3.5.bn2.bias" if network.name == "resnet50_v1_5" else "blocks.3.attn.qkv.bias"
    without = {key: array for key, array in state.items() if key != name}
    with pytest.raises(ValueError, match=rf"not those of X: {name} of the \d+ needed are missing"):
        convert(without, network, "X")
    with pytest.raises(ValueError, match=rf"{name} is \(7,\) instead of \("):
        convert({**state, name: np.zeros(7)}, network, "X")


def test_the_transformer_has_as_many_weights_as_in_timm(monkeypatch):
    counts = []
    for blocks in (1, 2):
        monkeypatch.setattr(vision_transformer, "_BLOCKS", blocks)
        counts.append(get_backbone("vit_b16", (224, 224, 3)).count_params())
    of_one, of_two = counts
    assert of_one + 11 * (of_two - of_one) == 85_798_656


def test_sizes_of_patches():
    with pytest.raises(ValueError, match="multiples of 16 pixels, such as 224; got 227 x 227"):
        get_backbone("vit_b16", (227, 227, 3))
