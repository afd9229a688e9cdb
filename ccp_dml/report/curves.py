"""Curves of trainings over their steps, and of the covering radius over the rounds."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ccp_dml.report.figures import add_legend, embed_png, line_styles, panel, thin_out, to_picture
from ccp_dml.report.page import Note, Picture, Section

_MAX_POINTS = 300
_MAX_MARKS = 60
_VALIDATION_TITLES = {
    "map_at_r": "MAP@R",
    "r_precision": "R-precision",
    "precision_at_1": "P@1",
}
# Columns that are not losses, or have their own panels.
_OTHERS = (
    "epoch",
    "step",
    "loss",
    "round",
    "proximal_weight",
    "covering_radius",
    "next_covering_radius",
    "learning_rate",
)


_TERMS = {
    "batch_loss": "The loss among the samples of a batch.",
    "proxy_loss": "The loss of the samples against the proxies; it jumps when the proxies are "
    "renewed.",
    "proximal_term": "λ/2 times the squared distance from the best weights of the round before; it "
    "restarts with each round.",
    "memory_loss": "The loss of the batch against the cross-batch memory.",
}


class Training(NamedTuple):
    """The history of one training.

    Attributes:
        name: Name of the method; trainings of the same name have the same style.
        history: A row for each validation, with the columns of `history.csv`.
    """

    name: str
    history: pd.DataFrame


def training_section(trainings: Sequence[Training], monitor: str = "map_at_r") -> Section:
    """Makes the section with curves of losses, validation, λ, learning rate and covering radius.

    Args:
        trainings: The histories; missing columns are not drawn.
        monitor: The metric by which the best weights were chosen. Defaults to `"map_at_r"`.
    """
    trainings = [training for training in trainings if len(training.history)]
    if not trainings:
        return Section("Training", [])
    names = {training.name for training in trainings}
    notes = "A line for each training run." if len(trainings) > len(names) else ""
    if len(trainings) == len(names) and any(_round_starts(each.history) for each in trainings):
        notes = "Faint vertical lines mark where a round of CCP ended and the next began."
    panels = [
        ("loss", "Loss", "What training minimises, all terms together; lower is better."),
        *_term_panels(trainings),
        (
            f"val_{monitor}",
            f"Validation {_VALIDATION_TITLES.get(monitor, monitor)}",
            "Measured on the validation samples; the weights of the highest point (dot) are kept.",
        ),
        (
            "val_embedding_spread",
            "Spread of the validation embeddings",
            "How far embeddings lie from their mean: near 0 they have collapsed to one point.",
        ),
        ("learning_rate", "Learning rate", "The step size of the optimizer."),
        (
            "proximal_weight",
            "Proximal weight λ",
            "How strongly the weights are held to the best ones of the round before; 0 in round 0.",
        ),
        (
            "covering_radius",
            "Covering radius of the proxies",
            "The largest distance from a sample of a training class to its nearest proxy, averaged "
            "over the classes, at the end of the latest round; smaller is better.",
        ),
    ]
    pictures = [
        _draw_over_steps(trainings, column, title, text)
        for column, title, text in panels
        if any(_is_drawn(training.history, column) for training in trainings)
    ]
    return Section("Training", [*([Note(notes)] if notes else []), *pictures])


def round_section(
    trainings: Sequence[Training], drawn_rounds: Mapping[str, bytes] | None = None
) -> Section:
    """Makes the section on rounds of CCP: their covering radius, and rounds of a 2-d embedding.

    Args:
        trainings: The histories; those without rounds are not drawn.
        drawn_rounds: The bytes of the PNG file for each run with a figure by `draw_rounds`.
            Defaults to none.
    """
    pictures = [_embed_rounds(name, content) for name, content in (drawn_rounds or {}).items()]
    radius = _draw_radius(trainings)
    return Section("Rounds", [*([radius] if radius else []), *pictures])


def _embed_rounds(name, content):
    return Picture(
        f"The rounds of a 2-d embedding, {name}.",
        f"The rounds of a 2-d embedding of training samples (paper, Figure 1), {name}: each panel "
        "shows the end of a round; the first round ends where a proxy loss without CCP would. "
        "Colours are classes, circles are converged proxies, and stars are the next ones, which "
        "cover the samples better.",
        source=embed_png(content),
        is_wide=True,
    )


def _draw_radius(trainings):
    ends = [(training.name, read_round_ends(training.history)) for training in trainings]
    ends = [(name, radii) for name, radii in ends if len(radii)]
    if not ends:
        return None
    title = "Covering radius against rounds"
    styles = line_styles([training.name for training in trainings])
    with panel(title) as axes:
        for name, radii in ends:
            label = _label_once(axes, name)
            axes.plot(radii["round"], radii["covering_radius"], "o", **styles[name], label=label)
            if radii["next_covering_radius"].notna().any():
                label = _label_once(axes, f"{name}, renewed proxies")
                axes.plot(
                    radii["round"],
                    radii["next_covering_radius"],
                    marker="*",
                    color=styles[name]["color"],
                    linestyle=":",
                    label=label,
                )
        axes.set(title=title, xlabel="round", ylabel="covering radius", ylim=(0, None))
        axes.locator_params(axis="x", integer=True)
        add_legend(axes)
        return to_picture(
            axes,
            f"{title} of {_list_names(ends)}.",
            "Where each round ended (paper, Figure 2): how far training samples are from the "
            "proxies that the round ended with, and from those chosen anew for the next one. CCP "
            "works where the line falls.",
        )


def read_round_ends(history: pd.DataFrame) -> pd.DataFrame:
    """Returns the ended rounds with the covering radius of their proxies and of the next ones.

    Args:
        history: A row for each validation; see `Training`.

    Returns:
        The columns `round`, `step`, `covering_radius` and `next_covering_radius`, NaN if unknown.
    """
    columns = ["round", "step", "covering_radius", "next_covering_radius"]
    starts = _round_starts(history)
    if not starts or "covering_radius" not in history:
        return pd.DataFrame(columns=columns, dtype="float64")
    # The row before a round has the radius at the end of the previous round.
    ends = history.iloc[[start - 1 for start in starts]].reindex(columns=columns)
    return ends[ends["round"] >= 0].reset_index(drop=True)


def _round_starts(history):
    """Returns the rows where rounds begin, except the first."""
    if "round" not in history:
        return []
    rounds = history["round"].to_numpy()
    return (np.flatnonzero(np.diff(rounds) > 0) + 1).tolist()


def _is_drawn(history, column):
    if column not in history or not history[column].fillna(0).any():
        return False
    return column != "learning_rate" or history[column].nunique() > 1


def _term_panels(trainings):
    columns = dict.fromkeys(
        column
        for training in trainings
        for column in training.history
        if column not in _OTHERS and not column.startswith("val_")
    )
    return [
        (column, column.replace("_", " ").capitalize(), _TERMS.get(column, "A term of the loss."))
        for column in columns
    ]


def _draw_over_steps(trainings, column, title, text) -> Picture:
    styles = line_styles([training.name for training in trainings])
    drawn = [each for each in trainings if _is_drawn(each.history, column)]
    is_single = len({training.name for training in trainings}) == len(trainings)
    with panel(title) as axes:
        for name, history in drawn:
            values = history[column].to_numpy()
            rows = thin_out(len(history), _MAX_POINTS)
            steps = history["step"].to_numpy()
            axes.plot(
                steps[rows],
                values[rows],
                **styles[name],
                alpha=1 if is_single else 0.6,
                label=_label_once(axes, name),
                marker="." if len(rows) == 1 else None,
            )
            if column.startswith("val_") and column != "val_embedding_spread":
                best = np.nanargmax(values)
                axes.plot(steps[best], values[best], "o", markersize=4, **_color(styles[name]))
            if is_single:
                starts = _round_starts(history)
                marked = np.asarray(starts, int)[thin_out(len(starts), _MAX_MARKS)]
                # From the bottom of the panel to its top.
                axes.vlines(
                    steps[marked - 1],
                    0,
                    1,
                    **_color(styles[name]),
                    linewidth=0.7,
                    alpha=0.35,
                    transform=axes.get_xaxis_transform(),
                )
        last = max(training.history["step"].max() for training in trainings)
        axes.set(title=title, xlabel="training step", xlim=(0, 1.02 * last))
        axes.ticklabel_format(axis="y", scilimits=(-3, 4))
        add_legend(axes)
        return to_picture(axes, f"{title} over the training steps of {_list_names(drawn)}.", text)


def _color(style):
    return {"color": style["color"]}


def _label_once(axes, label):
    """Returns the label, unless a line already has it."""
    return None if label in axes.get_legend_handles_labels()[1] else label


def _list_names(named):
    return ", ".join(dict.fromkeys(name for name, _ in named))
