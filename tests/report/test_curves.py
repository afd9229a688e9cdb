"""Curves of trainings."""

import numpy as np
import pandas as pd
import pytest

from ccp_dml.report.curves import Training, read_round_ends, round_section, training_section


def make_history(rounds, **columns):
    """A history with a validation every 25 steps; a round's radius is logged in its last row."""
    rounds = np.asarray(rounds)
    # The radius of the latest round that has ended: a hundredth for each round so far.
    radii = [
        np.nan if following < 1 else following / 100 for following in [*rounds[1:], rounds[-1]]
    ]
    return pd.DataFrame(
        {
            "epoch": np.arange(len(rounds)),
            "step": 25 * np.arange(1, len(rounds) + 1),
            "round": rounds,
            "covering_radius": radii,
            "next_covering_radius": np.asarray(radii) / 2,
            "proximal_weight": np.where(rounds > 0, 2e-4, 0),
            "loss": np.linspace(1, 0.5, len(rounds)),
            "val_map_at_r": np.linspace(0.1, 0.5, len(rounds)),
            **columns,
        }
    )


ROUNDS = [-1, -1, 0, 0, 0, 1, 1, 2, 2]


def test_the_ends_of_rounds():
    ends = read_round_ends(make_history(ROUNDS))
    assert ends["round"].tolist() == [0, 1]
    assert ends["step"].tolist() == [125, 175]
    assert ends["covering_radius"].tolist() == [0.01, 0.02]
    assert ends["next_covering_radius"].tolist() == [0.005, 0.01]


@pytest.mark.parametrize("rounds", [[0, 0, 0], [-1, -1], [-1, 0]])
def test_rounds_that_have_not_ended(rounds):
    history = make_history(rounds)
    assert read_round_ends(history).empty
    assert not round_section([Training("ccp", history)]).blocks


def test_histories_of_earlier_versions_have_no_next_radius():
    ends = read_round_ends(make_history(ROUNDS).drop(columns="next_covering_radius"))
    assert ends["next_covering_radius"].isna().all()
    (picture,) = round_section(
        [Training("ccp", make_history(ROUNDS).drop(columns="next_covering_radius"))]
    ).blocks
    assert "renewed" not in picture.svg


def titles(section):
    return [block.description for block in section.blocks if block.kind == "picture"]


def test_what_is_drawn_over_the_steps():
    plain = make_history([0] * 4)[["epoch", "step", "loss", "val_map_at_r"]]
    ccp = make_history(ROUNDS, batch_loss=0.3, proximal_term=0.0, learning_rate=1e-3)
    section = training_section([Training("plain", plain), Training("ccp", ccp)])
    assert titles(section) == [
        "Loss over the training steps of plain, ccp.",
        "Batch loss over the training steps of ccp.",
        "Validation MAP@R over the training steps of plain, ccp.",
        "Proximal weight λ over the training steps of ccp.",
        "Covering radius of the proxies over the training steps of ccp.",
    ]
    assert "a round of CCP" in section.blocks[0].text
    assert all("training step" in block.svg for block in section.blocks[1:])


def test_a_learning_rate_that_changes_is_drawn():
    history = make_history([0] * 3, learning_rate=[1e-3, 1e-3, 5e-4])
    assert any(
        title.startswith("Learning rate")
        for title in titles(training_section([Training("a", history)]))
    )


def test_several_trainings_of_a_method_look_alike():
    trainings = [Training("ccp", make_history(ROUNDS)) for _ in range(3)]
    section = training_section(trainings)
    assert section.blocks[0].text == "A line for each training run."
    # The method is named once.
    assert section.blocks[1].svg.count(">ccp<") == 1


@pytest.mark.parametrize("rows", [0, 1])
def test_a_training_with_few_rows(rows):
    section = training_section([Training("ccp", make_history(ROUNDS)[:rows])])
    assert bool(section.blocks) == bool(rows)


def test_a_long_training_makes_no_larger_section():
    sizes = []
    for length in (400, 20_000):
        history = make_history([0] * length, loss=np.random.default_rng(0).uniform(size=length))
        section = training_section([Training("plain", history)])
        sizes.append(len(section.blocks[0].svg or section.blocks[0].source))
    assert sizes[1] < 1.2 * sizes[0]


def test_the_figure_of_rounds_is_embedded():
    section = round_section([], {"digits": b"\x89PNG"})
    (picture,) = section.blocks
    assert picture.source == "data:image/png;base64,iVBORw=="
    assert picture.is_wide
