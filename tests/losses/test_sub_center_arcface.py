import numpy as np
import pytest

from ccp_dml import losses
from tests.losses.pair_cases import TOLERANCE, against, random_case, values_and_gradients


@pytest.mark.both_backends
def test_with_one_proxy_per_class_it_is_arcface(generator):
    labels, embeddings, references, reference_labels = random_case(generator, r=5, per_class=1)
    proxies = against(references, reference_labels)
    one = losses.get("sub_center_arcface", proxies_per_class=1)(labels, embeddings, **proxies)
    other = losses.get("arcface")(labels, embeddings, **proxies)
    assert float(one) == pytest.approx(float(other), rel=TOLERANCE)


@pytest.mark.both_backends
def test_only_the_nearest_proxy_of_a_class_learns():
    proxies = np.array([[0.9, 0.0], [0.0, 0.9], [-0.9, 0.0], [0.0, -0.9]])
    labels, sample = np.array([0, 0, 1, 1]), np.array([[0.5, -0.2]])
    loss = losses.get("sub_center_arcface", scale=2.0, proxies_per_class=2)
    _, (_, gradient) = values_and_gradients(loss, labels[:1], sample, **against(proxies, labels))
    np.testing.assert_array_equal(np.any(gradient != 0, axis=1), [True, False, False, True])
