import pytest

from ccp_dml import losses
from tests.losses.pair_cases import TOLERANCE, random_case


@pytest.mark.parametrize(
    ("alias", "name", "default"),
    [("sup_con", "normalized_softmax", 0.1), ("nt_xent", "n_pair", 0.1)],
)
def test_names_of_the_field_are_losses_that_are_there(alias, name, default, generator):
    labels, embeddings, _, _ = random_case(generator)
    loss = losses.get(alias, temperature=0.3)
    value = float(loss(labels, embeddings))
    other = losses.get(name, temperature=0.3)
    assert value == pytest.approx(float(other(labels, embeddings)), rel=TOLERANCE)
    copy = losses.deserialize(losses.serialize(loss))
    assert type(copy) is type(loss)
    assert copy.temperature == 0.3
    assert losses.get(alias).temperature == default
    assert not losses.get(alias).is_proxy_loss
