"""Writes the pages that follow from the product itself: datasets and their SQL, log, metrics, reasons, exit codes.

`python -m pipeline.guide` writes them, `make docs` calls it, and tests compare them with what is committed. So no
column, window, log key or reason is described that the product does not have.
"""
