"""The report page: one self-contained HTML file about one experiment or several."""

from analysis.report.page import Section, page, section

__all__ = ["Section", "page", "section"]
