"""What a search varies: its syntax, its values, and what is refused."""

import re

import numpy as np
import pytest

from ccp_dml.experiment.search_space import (
    check_space,
    count_grid_points,
    grid_points,
    parse_space,
    with_values,
)
from ccp_dml.experiment.settings import Settings

SETTINGS = Settings(miner="semi_hard_pairs", loss_params={"positive_margin": 0.1})


def test_all_kinds_of_ranges():
    space = parse_space(
        "learning_rate=log:1e-4:1e-2, proxies_per_class=int:1:16,pool_size=log_int:8:64:4,"
        "loss_params.negative_margin=uniform:0.1:1,round_patience=choice:1|2|4,"
        "flip=choice:true|false,loss=choice:contrastive|my_losses:Mine,"
        "loss_params.distance=choice:cosine"
    )
    assert [(each.name, each.kind, each.bounds, each.choices, each.points) for each in space] == [
        ("learning_rate", "log", (1e-4, 1e-2), (), None),
        ("proxies_per_class", "int", (1, 16), (), None),
        ("pool_size", "log_int", (8, 64), (), 4),
        ("loss_params.negative_margin", "uniform", (0.1, 1.0), (), None),
        ("round_patience", "choice", (), (1, 2, 4), None),
        ("flip", "choice", (), (True, False), None),
        ("loss", "choice", (), ("contrastive", "my_losses:Mine"), None),
        ("loss_params.distance", "choice", (), ("cosine",), None),
    ]
    assert [type(choice) for choice in space[4].choices] == [int] * 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--tune_space is missing: .* such as --tune_space=learning_rate=log"),
        (
            "learning_rate",
            "name=kind:low:high and name=choice:value|value, .*; got 'learning_rate'",
        ),
        ("lerning_rate=log:1:2", "got 'lerning_rate': did you mean learning_rate"),
        ("seed=int:1:2", "cannot vary seed: it must be the same for all trials"),
        ("dataset_params.train_letters=int:1:2", "cannot vary dataset_params"),
        ("validation=choice:test|samples", "cannot vary validation"),
        ("crop_area=choice:1|2", "cannot vary crop_area, which is a list"),
        ("loss_params=log:1:2", "must name one of them, as loss_params.<name>"),
        ("pool_size.x=int:1:2", "pool_size is a single value; got pool_size.x"),
        ("pool_size=it:1:2", "the kind of range of pool_size, .*; got 'it': did you mean int?"),
        ("pool_size=log:1:2", "whole number, for which tune_space has int, log_int and choice"),
        ("flip=int:0:1", "flip has no range of numbers: give its values, flip=choice:"),
        ("learning_rate=log:1", "as log:low:high, numbers, or .*; got log:1"),
        ("learning_rate=log:1:2:3:4", "as log:low:high, numbers"),
        ("learning_rate=log:1:inf", "as log:low:high, numbers"),
        ("pool_size=int:1.5:2", "as int:low:high, whole numbers"),
        ("learning_rate=uniform:2:1", "a low below its high; got uniform:2:1"),
        ("proximal_weight=log:0:1", "a low above 0, because its range is logarithmic"),
        ("learning_rate=log:1:2:1", "the points of learning_rate, must be at least 2; got 1"),
        ("pool_size=choice:8|x", "choices of pool_size .* must be whole numbers; got 'x'"),
        ("flip=choice:yes|no", "must be true or false; got 'yes'"),
        ("loss=choice:", "choices of loss in tune_space must not be empty"),
        ("pool_size=choice:8|8", "each choice once"),
        ("pool_size=int:1:2,pool_size=int:3:4", "each setting once; got pool_size twice"),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_space(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pool_size=int:0:4", "pool_size=0: pool_size must be at least 1; got 0"),
        ("loss_params.negativ_margin=log:0.1:1", "did you mean negative_margin"),
        ("miner_params.margn=log:0.1:1", "has no parameter 'margn'.*did you mean margin"),
        ("loss=choice:contrastive|triplet", "loss=triplet: triplet has no parameter"),
        ("loss_params.distance=choice:cosine|cosin", "distance=cosin: "),
    ],
)
def test_values_that_settings_do_not_allow(text, message):
    space = parse_space(text)
    with pytest.raises(ValueError, match=re.escape("tune_space, ") + ".*" + message):
        check_space(space, SETTINGS)


def test_parameters_of_what_is_itself_chosen_are_allowed():
    check_space(
        parse_space("miner=choice:semi_hard_pairs|semi_hard,miner_params.margin=uniform:0.1:0.3"),
        Settings(loss="triplet"),
    )


def test_values_are_put_into_settings():
    changed = with_values(
        SETTINGS, {"pool_size": 20, "loss_params.negative_margin": 0.7, "miner_params.margin": 0.2}
    )
    assert changed.pool_size == 20
    assert changed.loss_params == {"positive_margin": 0.1, "negative_margin": 0.7}
    assert changed.miner_params == {"margin": 0.2}
    assert SETTINGS.loss_params == {"positive_margin": 0.1}
    assert changed.learning_rate == SETTINGS.learning_rate


def test_a_grid_has_all_combinations():
    space = parse_space("proximal_weight=log:1e-4:1e-2:3,pool_size=int:8:10,flip=choice:true|false")
    points = grid_points(space)
    assert len(points) == 3 * 3 * 2
    assert points[0] == {"proximal_weight": 1e-4, "pool_size": 8, "flip": True}
    assert points[1] == {"proximal_weight": 1e-4, "pool_size": 8, "flip": False}
    assert sorted({point["proximal_weight"] for point in points}) == [1e-4, 1e-3, 1e-2]


def test_numbers_of_a_grid():
    (parameter,) = parse_space("pool_size=log_int:1:100:5")
    assert parameter.grid() == [1, 3, 10, 32, 100]
    (parameter,) = parse_space("loss_params.negative_margin=uniform:0.1:0.7:3")
    np.testing.assert_allclose(parameter.grid(), [0.1, 0.4, 0.7])
    with pytest.raises(ValueError, match=r"learning_rate=log:1\.0:2\.0:5 for five of them"):
        grid_points(parse_space("learning_rate=log:1:2"))


@pytest.mark.parametrize(
    "space",
    ["patience=int:3:9", "patience=log_int:1:4:9,flip=choice:true|false", "beta_2=uniform:0:1:5"],
)
def test_points_of_a_grid_are_counted(space):
    space = parse_space(space)
    assert count_grid_points(space) == len(grid_points(space))


def test_points_that_no_memory_holds_are_counted():
    space = parse_space("patience=int:1:1000000000,max_steps=int:1:1000000000")
    assert count_grid_points(space) == 10**18
