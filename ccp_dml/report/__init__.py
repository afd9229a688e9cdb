"""Tables and figures for people to look at."""

from ccp_dml.report.contact_sheet import draw_samples
from ccp_dml.report.neighbor_sheet import Tile, draw_neighbors
from ccp_dml.report.round_figure import RoundSnapshot, draw_rounds
from ccp_dml.report.tables import format_estimate, markdown_table, metrics_table, terminal_table
from ccp_dml.report.thumbnails import load_thumbnail

__all__ = [
    "RoundSnapshot",
    "Tile",
    "draw_neighbors",
    "draw_rounds",
    "draw_samples",
    "format_estimate",
    "load_thumbnail",
    "markdown_table",
    "metrics_table",
    "terminal_table",
]
