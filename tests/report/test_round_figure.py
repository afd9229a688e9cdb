import numpy as np
import pytest

from ccp_dml.projections import RoundEnd, RoundSnapshot
from ccp_dml.report import draw_rounds


def test_a_figure_has_a_panel_a_round(generator):
    snapshots = []
    for number in range(3):
        proxies, following = generator.standard_normal((2, 4, 3, 2))
        end = RoundEnd(number, proxies, following, proxies, 0.5, 0.25)
        embeddings = generator.uniform(-0.7, 0.7, (20, 2))
        snapshots.append(RoundSnapshot(end, embeddings, np.arange(20) % 4))
    figure = draw_rounds(snapshots)
    titles = [panel.get_title() for panel in figure.axes]
    assert [title.split("\n")[0] for title in titles] == [
        "without CCP: end of round 0",
        "CCP: end of round 1",
        "CCP: end of round 2",
    ]
    samples, converged, following = figure.axes[1].collections
    np.testing.assert_allclose(samples.get_offsets(), snapshots[1].embeddings)
    assert len(converged.get_offsets()) == len(following.get_offsets()) == 12
    with pytest.raises(ValueError, match="nothing to draw"):
        draw_rounds([])
