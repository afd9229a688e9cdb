"""Losses that need several proxies of each class."""

import numpy as np
import pytest

from ccp_dml import losses
from tests.losses.pair_cases import against


@pytest.mark.both_backends
@pytest.mark.parametrize("reference_labels", [[0, 0, 1, 1, 1], [0, 0, 0, 1]])
@pytest.mark.parametrize("name", ["soft_triple", "sub_center_arcface"])
def test_every_class_needs_the_same_number(name, reference_labels):
    loss = losses.get(name, proxies_per_class=2)
    references = np.zeros((len(reference_labels), 3))
    message = f"{type(loss).__name__} needs 2 references of each class"
    with pytest.raises(ValueError, match=message):
        loss(np.zeros(2), np.zeros((2, 3)), **against(references, np.array(reference_labels)))


@pytest.mark.parametrize("name", ["soft_triple", "sub_center_arcface"])
def test_their_number_is_checked(name):
    assert losses.get(name, proxies_per_class=4.0).get_config()["proxies_per_class"] == 4
    with pytest.raises(ValueError, match=r"proxies_per_class must be .*; got 1\.5"):
        losses.get(name, proxies_per_class=1.5)
