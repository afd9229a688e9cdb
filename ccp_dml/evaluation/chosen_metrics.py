"""Metrics of all kinds, chosen by name."""

from collections.abc import Sequence
from typing import NamedTuple

from ccp_dml.evaluation.clustering import CLUSTERING_METRICS
from ccp_dml.evaluation.query_metrics import QUERY_METRICS, find_metric
from ccp_dml.evaluation.verification import VERIFICATION_METRICS, find_rate

METRICS = (*QUERY_METRICS, "macro_<metric>", *VERIFICATION_METRICS, *CLUSTERING_METRICS)
"""Names of all metrics; `macro_` and the name of a retrieval metric is its mean over classes."""

_MACRO = "macro_"


class ChosenMetrics(NamedTuple):
    """Names of metrics, grouped by the function that computes them.

    Attributes:
        retrieval: For `ccp_dml.evaluation.metrics_by_query`.
        macro: The same, to be averaged over classes.
        verification: For `ccp_dml.evaluation.verification_metrics`.
        clustering: For `ccp_dml.evaluation.clustering_metrics`.
    """

    retrieval: tuple[str, ...]
    macro: tuple[str, ...]
    verification: tuple[str, ...]
    clustering: tuple[str, ...]


def choose_metrics(names: Sequence[str]) -> ChosenMetrics:
    """Groups metrics by the function that computes them.

    Args:
        names: Names in `METRICS`, with numbers in place of angle brackets.

    Raises:
        ValueError: If a name is unknown or given twice, or a rate is not between 0 and 1.

    Example:

    >>> chosen = choose_metrics(["mrr", "macro_map_at_r", "roc_auc"])
    >>> chosen.retrieval, chosen.macro, chosen.verification
    (('mrr',), ('map_at_r',), ('roc_auc',))
    """
    kinds = {"retrieval": [], "macro": [], "verification": [], "clustering": []}
    for name in names:
        if list(names).count(name) > 1:
            raise ValueError(f"metrics must name each metric once; got {','.join(names)}")
        kind = _find_kind(name)
        kinds[kind].append(name.removeprefix(_MACRO) if kind == "macro" else name)
    return ChosenMetrics(**{kind: tuple(chosen) for kind, chosen in kinds.items()})


def is_metric(name: str) -> bool:
    """Returns whether `choose_metrics` knows a name.

    Args:
        name: The name.

    Example:

    >>> is_metric("map_at_10"), is_metric("seconds")
    (True, False)
    """
    try:
        _find_kind(name)
    except ValueError:
        return False
    return True


def _find_kind(name):
    if find_metric(name) is not None:
        return "retrieval"
    if name.startswith(_MACRO) and find_metric(name.removeprefix(_MACRO)) is not None:
        return "macro"
    if name in CLUSTERING_METRICS:
        return "clustering"
    try:
        find_rate(name)
    except KeyError:
        raise ValueError(f"metrics must be among {', '.join(METRICS)}; got {name!r}") from None
    return "verification"
