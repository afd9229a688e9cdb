"""The user's own losses, by module and name."""

import pytest

from ccp_dml import losses
from tests.losses import losses_of_a_user

MODULE = losses_of_a_user.__name__


def test_classes_and_functions_by_their_address():
    loss = losses.get(f"{MODULE}:Scaled", factor=2.0, form="other", margin=0.3)
    assert isinstance(loss, losses_of_a_user.Scaled)
    assert (loss.factor, loss.form, loss.margin) == (2.0, "other", 0.3)
    assert losses.get(f"{MODULE}:make_sum", weight=0.5).weights == [1.0, 0.5]
    wrapped = losses.get("virtual_softmax", loss=f"{MODULE}:Scaled")
    assert isinstance(wrapped.loss, losses_of_a_user.Scaled)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("no_such_module:Loss", {}, "of the form module:Class and importable: No module named"),
        (f"{MODULE}:Missing", {}, "importable: module .* has no attribute 'Missing'"),
        (":", {}, "of the form module:Class and importable"),
        (f"{MODULE}:NUMBER", {}, "must be a class or a function; got 3"),
        (f"{MODULE}:make_nothing", {}, "must be a PairwiseLoss; got None"),
        (f"{MODULE}:make_sum", {"wieght": 1.0}, "it takes weight: did you mean weight"),
        (f"{MODULE}:Scaled", {"beta": 1.0}, "cannot be made: .*'beta'"),
    ],
)
def test_errors_say_what_is_wrong(name, params, message):
    with pytest.raises(ValueError, match=message):
        losses.get(name, **params)
