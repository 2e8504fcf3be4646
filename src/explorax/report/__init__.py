"""Reads run directories, and nothing else: statistics, figures, the page. Needs no JAX."""

from explorax.report.page import save_figures, write_report
from explorax.report.read import Run, find_runs, read_run
from explorax.report.table import table_csv, table_markdown

__all__ = [
    "Run",
    "find_runs",
    "read_run",
    "save_figures",
    "table_csv",
    "table_markdown",
    "write_report",
]
