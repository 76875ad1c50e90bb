"""The signal on a real model: what its measurements say, in tables, two answers and a report."""

from analysis.real_signal.findings import Findings, findings
from analysis.real_signal.report import markdown

__all__ = ["Findings", "findings", "markdown"]
