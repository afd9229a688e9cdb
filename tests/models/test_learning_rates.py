import keras
import numpy as np
import pytest

from ccp_dml.models import ChanceConstrainedModel, EmbeddingModel, ProxyModel, small_convnet
from ccp_dml.models.learning_rates import decay_by_depth, find_multiplier
from ccp_dml.optimizers import LayerwiseLearningRates
from tests.models.small_models import linear_model, proxy_model, steps_of


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_multipliers_scale_the_steps_of_what_they_name(optimizer):
    make = getattr(keras.optimizers, optimizer)
    plain = steps_of(proxy_model(make(1e-4)))
    scaled = steps_of(proxy_model(make(1e-4), learning_rate_multipliers={"proxies": 100}))
    for (path, step), other in zip(plain.items(), scaled.values(), strict=True):
        factor = 100 if "proxies" in path.split("/") else 1
        assert np.abs(step).max() > 0
        # A step is known up to the rounding of weights of about 1.
        rounding = 2 * np.finfo("float32").eps
        np.testing.assert_allclose(other, factor * step, rtol=0.02, atol=factor * rounding)


def test_compiling_again_does_not_multiply_again():
    optimizer = keras.optimizers.SGD(1e-3)
    model = proxy_model(optimizer, learning_rate_multipliers={"proxies": 10})
    once = steps_of(model)
    again = proxy_model(keras.optimizers.SGD(1e-3), learning_rate_multipliers={"proxies": 10})
    again.compile(again.optimizer, loss="contrastive")
    for one, other in zip(once.values(), steps_of(again).values(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-7)


def test_multipliers_under_two_replicas(two_replicas):
    def made():
        return proxy_model(
            keras.optimizers.Adam(1e-3), learning_rate_multipliers={"projection": 0.1}
        )

    alone = steps_of(made())
    with two_replicas.scope():
        model = made()
    for one, other in zip(alone.values(), steps_of(model).values(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_multipliers_are_saved(tmp_path):
    model = proxy_model(keras.optimizers.Adam(1e-3), learning_rate_multipliers={"proxies": 10})
    steps_of(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.multipliers == model.optimizer.multipliers == (*[1.0] * 5, 10.0)
    for ours, theirs in zip(loaded.optimizer.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    for one, other in zip(steps_of(model).values(), steps_of(loaded).values(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_multipliers_of_an_optimizer_are_kept():
    sgd = keras.optimizers.SGD(1e-3)
    moved = steps_of(proxy_model(LayerwiseLearningRates(sgd, [*[0.0] * 5, 1.0])))
    *network, proxies = moved.values()
    assert all((step == 0).all() for step in network)
    assert np.abs(proxies).min() > 0


def test_paths_are_matched_by_parts_and_with_globs():
    names = [
        "backbone/conv1_conv/kernel",
        "backbone/conv2_block1_1_conv/kernel",
        "backbone/conv2_block11_1_conv/kernel",
        "embedding_model/projection/kernel",
    ]

    def matched(pattern):
        return [find_multiplier(name, {pattern: 2.0}) == 2.0 for name in names]

    assert matched("projection") == [False, False, False, True]
    assert matched("backbone") == [True, True, True, False]
    assert matched("block1") == [False] * 4
    assert matched("*block1_*") == [False, True, False, False]
    assert matched("backbone/*block1*") == [False, True, True, False]
    assert matched("embedding_model/*/kernel") == [False, False, False, True]
    assert matched("*/kernel") == [True] * 4
    assert matched("conv*/k?rnel") == [True, True, True, False]
    assert find_multiplier(names[1], {"backbone": 0.5, "kernel": 0.5, "projection": 3}) == 0.25


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize("model_class", [ProxyModel, ChanceConstrainedModel])
def test_a_multiplier_of_0_freezes(model_class, tmp_path):
    def frozen_in(model):
        return [each.path for each in model.trainable_variables if "_conv" in each.path]

    keras.utils.set_random_seed(0)
    network = EmbeddingModel(small_convnet((8, 8, 1), filters=(4, 8, 8)), embedding_size=6)
    layers = [layer for layer in network.backbone.layers if layer.weights]
    multipliers = {f"backbone/{layers[0].name}": 0, f"backbone/{layers[1].name}/k*": 0}
    model = model_class(
        network, 5, 2, learning_rate_multipliers=multipliers, weight_decay=0.1, clip_norm=None
    )
    model.compile(keras.optimizers.AdamW(0.01, weight_decay=0.1), loss="contrastive")
    before = [weight.numpy() for weight in layers[0].weights + layers[1].weights]
    moved = steps_of(model)
    frozen = [
        (weight.numpy() == old).all()
        for weight, old in zip(layers[0].weights + layers[1].weights, before, strict=True)
    ]
    assert frozen == [True, True, True, False]
    assert set(moved) == {each.path for each in model.trainable_variables}
    assert not {each.path for each in layers[0].weights} & set(moved)
    assert all(np.abs(step).max() > 0 for step in moved.values())
    if model_class is ChanceConstrainedModel:
        assert len(model.reference_point) == len(network.trainable_variables)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert frozen_in(loaded) == frozen_in(model)
    # Compiling again does not lose which weights the multipliers are for.
    loaded.compile(loaded.optimizer, loss="contrastive")
    assert set(steps_of(loaded)) == set(moved)


def test_frozen_proxies_stay_where_they_are():
    model = proxy_model(keras.optimizers.Adam(1e-3), learning_rate_multipliers={"proxies": 0})
    proxies = model.proxies.vectors.numpy()
    assert not any("proxies" in path for path in steps_of(model))
    np.testing.assert_array_equal(model.proxies.vectors.numpy(), proxies)


def test_layer_decay_of_networks_that_have_blocks():
    def decays_of(network):
        names = [f"backbone/{weight.path}" for weight in network.trainable_variables]
        return dict(zip(names, decay_by_depth(names, 0.5), strict=True))

    resnet = decays_of(
        keras.applications.ResNet50(weights=None, include_top=False, input_shape=(32, 32, 3))
    )
    # 16 blocks, in stages of 3, 4, 6 and 3.
    assert resnet["backbone/conv1_conv/kernel"] == 0.5**17
    assert resnet["backbone/conv2_block1_1_conv/kernel"] == 0.5**16
    assert resnet["backbone/conv2_block1_0_conv/kernel"] == 0.5**16
    assert resnet["backbone/conv4_block6_3_bn/beta"] == 0.5**4
    assert resnet["backbone/conv5_block3_3_conv/bias"] == 0.5
    names = ["patching/kernel", "encoder/layers_0/mlp/kernel", "encoder/layers_10/mlp/kernel"]
    names = [*[f"backbone/{name}" for name in [*names, "encoder/norm/gamma"]], "proxies/vectors"]
    assert decay_by_depth(names, 0.5) == [0.125, 0.25, 0.5, 0.5, 1.0]


def test_layer_decay_scales_steps():
    def backbone():
        inputs = keras.Input((8, 8, 1))
        outputs = inputs
        for name in ("stem", "block_1", "block_2"):
            outputs = keras.layers.Conv2D(4, 3, name=name)(outputs)
        return keras.Model(inputs, outputs)

    def steps(**arguments):
        keras.utils.set_random_seed(0)
        model = ProxyModel(EmbeddingModel(backbone(), embedding_size=6), 5, 2, **arguments)
        model.compile(keras.optimizers.SGD(1e-2), loss="contrastive")
        return list(steps_of(model).values())

    plain, decayed = steps(), steps(layer_decay=0.5, learning_rate_multipliers={"block_1": 3})
    factors = [0.125, 0.125, 0.75, 0.75, 0.5, 0.5, 1.0, 1.0]
    for one, other, factor in zip(plain, decayed, factors, strict=True):
        np.testing.assert_allclose(other, factor * one, rtol=1e-2, atol=1e-7)


def test_multipliers_of_no_weight_are_named():
    message = r"multiplier 'proxy' matches no weight; the weights are .*did you mean prox"
    with pytest.raises(ValueError, match=message):
        proxy_model("adam", learning_rate_multipliers={"proxy": 10})
    with pytest.raises(ValueError, match=r"'backbone/\*stage\*' matches no weight; .*proxies"):
        proxy_model("adam", learning_rate_multipliers={"backbone/*stage*": 0})
    with pytest.raises(ValueError, match=r"multipliers\['proxies'\] must be at least 0; got -1"):
        proxy_model("adam", learning_rate_multipliers={"proxies": -1})
    with pytest.raises(ValueError, match=r"multipliers {'\*': 0} freeze all weights"):
        proxy_model("adam", learning_rate_multipliers={"*": 0})
    with pytest.raises(ValueError, match="layer_decay must be above 0; got 0"):
        proxy_model("adam", layer_decay=0)
    with pytest.raises(ValueError, match="layer_decay needs a backbone of numbered blocks"):
        ProxyModel(linear_model(np.ones((4, 3))), 5, layer_decay=0.5).compile("adam", "contrastive")
