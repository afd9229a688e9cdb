import numpy as np
import pytest

from ccp_dml import losses, miners
from tests.losses.pair_cases import against, random_case, values_and_gradients


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize("miner", miners.PAIR_MINERS)
@pytest.mark.parametrize("name", losses.LOSSES)
def test_miners_go_with_every_loss(name, miner, generator):
    labels, embeddings, references, reference_labels = random_case(generator, per_class=3)
    takes_several = "proxies_per_class" in losses.parameters(name)
    params = {"proxies_per_class": 3} if takes_several else {}
    loss = losses.Mined(losses.get(name, **params), miners.get(miner))
    value, gradients = values_and_gradients(
        loss, labels, embeddings, **against(references, reference_labels)
    )
    assert value > 0
    assert all(np.isfinite(gradient).all() for gradient in gradients)
