"""Reports: tables, figures and pages."""

from ccp_dml.report.classes import class_section
from ccp_dml.report.contact_sheet import draw_samples
from ccp_dml.report.curves import Training, round_section, training_section
from ccp_dml.report.distances import distance_section
from ccp_dml.report.embedding_map import map_section
from ccp_dml.report.embedding_projector import write_projector
from ccp_dml.report.neighbor_section import neighbor_section
from ccp_dml.report.neighbor_sheet import Tile, draw_neighbors
from ccp_dml.report.page import Note, Section, Table, render_page
from ccp_dml.report.recall import recall_section
from ccp_dml.report.response_curves import Response, draw_responses
from ccp_dml.report.retrieval_gallery import draw_queries, gallery_section
from ccp_dml.report.retriever import RetrievalSamples, Retriever, make_retriever, make_samples
from ccp_dml.report.round_figure import draw_rounds
from ccp_dml.report.tables import (
    format_estimate,
    markdown_table,
    metrics_cells,
    metrics_table,
    terminal_table,
)
from ccp_dml.report.tensorboard_galleries import write_galleries
from ccp_dml.report.thumbnails import load_thumbnail, make_thumbnails

__all__ = [
    "Note",
    "Response",
    "RetrievalSamples",
    "Retriever",
    "Section",
    "Table",
    "Tile",
    "Training",
    "class_section",
    "distance_section",
    "draw_neighbors",
    "draw_queries",
    "draw_responses",
    "draw_rounds",
    "draw_samples",
    "format_estimate",
    "gallery_section",
    "load_thumbnail",
    "make_retriever",
    "make_samples",
    "make_thumbnails",
    "map_section",
    "markdown_table",
    "metrics_cells",
    "metrics_table",
    "neighbor_section",
    "recall_section",
    "render_page",
    "round_section",
    "terminal_table",
    "training_section",
    "write_galleries",
    "write_projector",
]
