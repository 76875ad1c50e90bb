"""The report page: one self-contained HTML file about one experiment or several."""

from analysis.report.document import document
from analysis.report.page import Picture, Section, page, section

__all__ = ["Picture", "Section", "document", "page", "section"]
