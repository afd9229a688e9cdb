import numpy as np
import pytest
from keras import ops

from ccp_dml import losses
from tests import naive
from tests.losses.pair_cases import (
    TOLERANCE,
    against,
    finite_differences,
    random_case,
    values_and_gradients,
)


@pytest.mark.both_backends(slow=True)
@pytest.mark.parametrize("against_references", [False, True])
@pytest.mark.parametrize("ratio", [0.5, 1.0])
def test_proxy_synthesis_equals_the_naive_loss(ratio, against_references, generator):
    labels, embeddings, references, reference_labels = random_case(generator)
    loss = losses.get("proxy_synthesis", loss="n_pair", ratio=ratio)
    draws = [np.asarray(each) for each in loss.draw(ops.convert_to_tensor(labels), 5)]
    assert len(draws[0]) == int(ratio * len(labels))
    assert (labels[draws[0]] != labels[draws[1]]).all()
    if against_references:
        proxies = against(references, reference_labels)
        pairs = naive.synthesized(labels, embeddings, references, reference_labels, draws)
        value = float(loss(labels, embeddings, **proxies, seed=5))
        assert value == pytest.approx(naive.n_pair(pairs), rel=TOLERANCE)
    else:
        # `naive` has no synthetic samples among those of a batch: here it is only checked that they
        # change the loss of the real classes.
        plain = float(losses.get("n_pair")(labels, embeddings))
        assert float(loss(labels, embeddings, seed=5)) != pytest.approx(plain, rel=1e-3)


@pytest.mark.both_backends(slow=True)
def test_proxy_synthesis_has_the_gradient_of_the_naive_loss(generator):
    labels, embeddings, references, reference_labels = random_case(generator, n=6, r=7, d=3)
    loss = losses.get("proxy_synthesis", loss="n_pair")
    draws = [np.asarray(each) for each in loss.draw(ops.convert_to_tensor(labels), 5)]
    _, gradients = values_and_gradients(
        loss, labels, embeddings, **against(references, reference_labels), seed=5
    )
    for which, gradient in enumerate(gradients):

        def naive_loss(vectors, which=which):
            both = [vectors, references] if which == 0 else [embeddings, vectors]
            return naive.n_pair(naive.synthesized(labels, *both, reference_labels, draws))

        numeric = finite_differences(naive_loss, [embeddings, references][which])
        np.testing.assert_allclose(gradient, numeric, atol=1e-6, rtol=1e-6)


@pytest.mark.both_backends
def test_proxy_synthesis_mixes_by_the_beta_distribution():
    loss = losses.get("proxy_synthesis", alpha=0.4)
    mixing = np.concatenate([loss.draw(np.arange(200), s)[2] for s in range(20)])
    assert mixing.mean() == pytest.approx(0.5, abs=0.03)
    assert mixing.var() == pytest.approx(1 / (4 * (2 * 0.4 + 1)), rel=0.05)
