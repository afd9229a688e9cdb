"""What the guide to fine-tuning says is true."""

import dataclasses
import pathlib
import re

import keras
import pytest

from ccp_dml.experiment.settings import Settings
from ccp_dml.models.learning_rates import decay_by_depth, find_multiplier
from ccp_dml.optimizers import LayerwiseLearningRates

GUIDE = (pathlib.Path(__file__).parents[2] / "docs" / "guides" / "fine_tuning.md").read_text(
    encoding="utf-8"
)


def test_its_flags_are_settings():
    names = {field.name for field in dataclasses.fields(Settings)}
    found = set(re.findall(r"--(\w+)", GUIDE))
    assert found
    assert found <= names


def test_its_example_runs():
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)
    names = {}
    exec(code, names)
    optimizer = names["model"].optimizer
    assert isinstance(optimizer, LayerwiseLearningRates)
    assert set(optimizer.multipliers) == {0.1, 1.0, 100.0}


@pytest.fixture(scope="module")
def resnet():
    network = keras.applications.ResNet50(weights=None, include_top=False, input_shape=(32, 32, 3))
    return [f"backbone/{weight.path}" for weight in network.trainable_variables]


def test_its_patterns_freeze_what_it_says(resnet):
    stages, blocks = re.findall(r"multipliers='(.*)'", GUIDE)
    stages, blocks = (
        {
            pattern: float(factor)
            for pattern, factor in (each.split("=") for each in flag.split(","))
        }
        for flag in (stages, blocks)
    )
    trained = [name for name in resnet if find_multiplier(name, stages)]
    assert {name.split("/")[1].split("_")[0] for name in trained} == {"conv4", "conv5"}
    names = [
        "backbone/vit_patching_and_embedding/patch_embedding/kernel",
        *[f"backbone/vit_encoder/transformer_block_{block}/mlp/kernel" for block in range(1, 13)],
    ]
    trained = [name for name in names if find_multiplier(name, blocks)]
    assert [name.split("/")[2] for name in trained] == [
        f"transformer_block_{block}" for block in range(9, 13)
    ]


def test_layer_decay_leaves_what_it_says_of_a_resnet(resnet):
    decays = dict(zip(resnet, decay_by_depth(resnet, 0.9), strict=True))
    assert decays["backbone/conv1_conv/kernel"] == pytest.approx(1 / 6, abs=0.01)
