import pytest

from ccp_dml import losses
from tests.losses.pair_cases import against, random_case


@pytest.mark.both_backends(slow=True)
def test_normalized_softmax_equals_proxy_nca_with_one_proxy_of_a_class(generator):
    labels, embeddings, references, reference_labels = random_case(generator, r=5, per_class=1)
    proxies = against(references, reference_labels)
    one, other = (
        losses.get(name, temperature=0.2)(labels, embeddings, **proxies)
        for name in ("normalized_softmax", "proxy_nca")
    )
    assert float(one) == pytest.approx(float(other))
