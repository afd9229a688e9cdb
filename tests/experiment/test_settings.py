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
        ({"learning_rate_multipliers": None}, "learning_rate_multipliers must be numbers by name"),
        ({"first_phase_weights": ("1",) * 4}, "first_phase_weights must be 4 numbers; got 1,1,1,1"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Settings(**settings)


def test_what_is_kept_of_images_does_not_change_results():
    settings = Settings(cache="none")
    assert settings.same_results(Settings(cache="disk"))
    assert Settings(cache="disk").same_results(settings)
    for other in (Settings(seed=1), Settings(fold=2), Settings(method=("ccp", "plain"))):
        assert not settings.same_results(other)
