import json

import keras
import numpy as np
import pytest

from ccp_dml import losses, miners
from ccp_dml.models import MetricLearningModel

LOSSES = {
    **{name: lambda name=name: losses.get(name) for name in [*losses.LOSSES, *losses.WRAPPERS]},
    "parameters": lambda: losses.get("contrastive", negative_margin=0.7, normalize=False, name="c"),
    "nested": lambda: losses.get(
        "multi_level_distance",
        loss=losses.Mined(losses.get("margin", nu=0.1), miners.get("semi_hard_pairs", margin=0.4)),
        weight=0.3,
    ),
}


@keras.saving.register_keras_serializable("tests")
class EveryPair(miners.Miner):
    """A miner that is not part of the package."""

    def __call__(self, distances, positives, negatives, dimension, seed):
        return positives, negatives


@keras.saving.register_keras_serializable("tests")
class Triplet(losses.PairwiseLoss):
    """A loss that is not part of the package, although it has the name of one that is."""

    def pairs_loss(self, embeddings, references, positives, negatives):
        return 0.0 * embeddings[0, 0]


@keras.saving.register_keras_serializable("tests")
def first_pairs(distances, positives, negatives, dimension, seed):
    return positives, negatives


def short_form(config):
    """The part of a config that one would write by hand: classes and their arguments."""
    if not isinstance(config, dict):
        return config
    if "class_name" in config:
        config = {"class_name": config["class_name"], "config": config["config"]}
    return {key: short_form(value) for key, value in config.items()}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_from_their_configs(name):
    loss = LOSSES[name]()
    config = json.loads(json.dumps(losses.serialize(loss)))
    for copy in (
        losses.deserialize(config),
        losses.get(config),
        losses.get(short_form(config)),
        keras.saving.deserialize_keras_object(config),
    ):
        assert type(copy) is type(loss)
        assert copy.get_config() == loss.get_config()


@pytest.mark.parametrize("name", miners.MINERS)
def test_miners_from_their_configs(name):
    value = False if name == "easy_positive" else 0.25
    params = dict.fromkeys(miners.parameters(name)[:1], value)
    miner = miners.get(name, **params)
    config = json.loads(json.dumps(miners.serialize(miner)))
    for copy in (
        miners.deserialize(config),
        miners.get(short_form(config)),
        keras.saving.deserialize_keras_object(config),
        type(miner).from_config(miner.get_config()),
    ):
        assert type(copy) is type(miner)
        assert copy.get_config() == miner.get_config() == {**miner.get_config(), **params}


def test_objects_are_returned_as_they_are():
    loss, miner = losses.get("triplet"), miners.get("hard")
    assert losses.get(loss) is loss
    assert miners.get(miner) is miner
    assert losses.Mined(loss, miner).miner is miner
    assert losses.get("virtual_softmax", loss=loss).loss is loss


def test_miners_of_losses_from_their_names():
    assert losses.Mined(losses.get("triplet"), "semi_hard").miner.margin == 0.2
    mined = losses.get("mined", loss="triplet", miner="hard")
    assert (type(mined.loss), type(mined.miner)) == (losses.Triplet, miners.HardMiner)


def test_classes_of_others_are_those_that_keras_knows():
    own = losses.deserialize(losses.serialize(Triplet(normalize=False)))
    assert type(own) is Triplet
    assert not own.normalize
    for miner in (EveryPair(), first_pairs):
        mined = losses.Mined(losses.get("triplet"), miner)
        copy = losses.deserialize(losses.serialize(mined))
        assert copy.miner is miner or type(copy.miner) is EveryPair


@pytest.mark.parametrize(
    "identifier",
    [
        "triplet",
        {"class_name": "Triplet", "config": {"margin": 0.0961}},
        losses.serialize(losses.get("triplet")),
        losses.get("triplet"),
    ],
    ids=["name", "short config", "config", "loss"],
)
def test_models_are_compiled_with_every_form(identifier, tmp_path):
    model = MetricLearningModel(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))
    model.compile("sgd", loss=identifier)
    assert (type(model.loss), model.loss.margin) == (losses.Triplet, 0.0961)
    inputs = np.eye(3, dtype="float32")
    model.fit(inputs, np.array([0, 0, 1]), verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.loss.get_config() == model.loss.get_config()


@pytest.mark.parametrize(
    ("get", "message"),
    [
        (
            lambda: losses.get({"class_name": "Triplet", "config": {"alpha": 1}}),
            "^triplet has no parameter 'alpha'; it takes margin, distance, .*, name$",
        ),
        (
            lambda: losses.get({**losses.serialize(losses.Triplet()), "config": {"alpha": 1}}),
            "^triplet has no parameter 'alpha'; it takes margin, distance, .*, name$",
        ),
        (
            lambda: losses.get(
                "virtual_softmax", loss={"class_name": "ProxyNCA", "config": {"alpha": 1}}
            ),
            "^proxy_nca has no parameter 'alpha'; it takes temperature, .*, name$",
        ),
        (
            lambda: miners.get({"class_name": "HardMiner", "config": {"margin": 1}}),
            "^hard has no parameter 'margin'; it takes none$",
        ),
        (
            lambda: losses.get({"class_name": "Tripel", "config": {}}),
            r"^loss \{'class_name': 'Tripel', 'config': \{\}\} cannot be deserialized: ",
        ),
        (lambda: losses.get({}), r"^loss must be a PairwiseLoss, .*; got \{\}$"),
        (lambda: losses.get(None), r"^loss must be a PairwiseLoss, .* contrastive.*; got None$"),
        (
            lambda: losses.get(losses.serialize(EveryPair())),
            r"^loss must be a PairwiseLoss, its config or one of the names .*EveryPair",
        ),
        (lambda: losses.get(losses.Triplet(), margin=1), r"^only a loss .*; got margin for <"),
        (lambda: miners.get(miners.HardMiner), r"^miner must be a Miner, .*distance_weighted; got"),
        (lambda: miners.get("semi-hard"), r"^unknown miner 'semi-hard'; the choices are hard, "),
    ],
)
def test_what_is_unknown_is_named(get, message):
    with pytest.raises(ValueError, match=message):
        get()


def test_miners_say_what_they_lack():
    with pytest.raises(NotImplementedError, match="Miner does not implement __call__"):
        miners.Miner()(None, None, None, 2, 0)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(
        ValueError, match=r"unknown loss 'tripel'.*contrastive.*triplet.*virtual_softmax"
    ):
        losses.get("tripel")
    assert losses.get("triplet", name="mine").name == "mine"
    with pytest.raises(ValueError, match="no parameter 'alpha'; it takes margin"):
        losses.get("triplet", alpha=1)
