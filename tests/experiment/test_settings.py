"""Settings are checked where they enter."""

import pytest

from ccp_dml.experiment.settings import Settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "plain"}, "method must be of type tuple; got 'plain'"),
        ({"learning_rate": "1"}, "learning_rate must be of type Real; got '1'"),
        ({"seed": 2**32}, "seed must be at most 4294967295"),
        ({"beta_2": 1.0}, "beta_2 must be below 1"),
        ({"loss_params": {"positive_margin": float("nan")}}, "positive_margin must be finite"),
        ({"loss_params": {"positive_margin": "0"}}, "parameters of contrastive must be numbers"),
        ({"loss_params": {"distance": 2.0}}, "distance must be one of euclidean, .*; got 2.0"),
        ({"loss_params": {"reduction": "maen"}}, "got 'maen': did you mean mean"),
        ({"loss": "tripel"}, "loss must be one of .*; got 'tripel': did you mean triplet"),
        ({"loss": "mine:Loss", "loss_params": {"a": None}}, "must be a number or a word; got None"),
        ({"miner": "semi_hard", "miner_params": {"margin": "wide"}}, "must be numbers by name"),
        ({"learning_rate_multipliers": None}, "learning_rate_multipliers must be numbers by name"),
        ({"learning_rate_warmup_steps": 9, "max_steps": 9}, "must be below max_steps, 9; got 9"),
        (
            {"learning_rate_schedule": "cosine", "plateau_patience": 3},
            "plateau_patience .* must be 0 with learning_rate_schedule=cosine .* got 3",
        ),
        (
            {"learning_rate_warmup_steps": 9, "plateau_patience": 3},
            "plateau_patience .* and learning_rate_warmup_steps=9; got 3",
        ),
        (
            {"sampled_classes": 5, "optimizer": "adamw"},
            "requires optimizer adam and ema_momentum 0; got adamw and 0.0",
        ),
        ({"steps_per_execution": 2}, "must divide steps_per_validation, 25; got 2"),
        ({"first_phase_weights": ("1",) * 4}, "first_phase_weights must be 4 numbers; got 1,1,1,1"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Settings(**settings)


@pytest.mark.parametrize(
    "of_the_machine",
    [{"cache": "disk"}, {"strategy": "mirrored"}, {"steps_per_execution": 5}],
)
def test_the_machine_does_not_change_results(of_the_machine):
    settings, other = Settings(), Settings(**of_the_machine)
    assert settings.same_results(other)
    assert other.same_results(settings)


@pytest.mark.parametrize(
    "deciding", [{"seed": 1}, {"fold": 2}, {"method": ("ccp",)}, {"precision": "mixed_bfloat16"}]
)
def test_everything_else_changes_them(deciding):
    assert not Settings().same_results(Settings(**deciding))
