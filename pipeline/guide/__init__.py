"""Writes the pages that follow from the code: datasets and their SQL, settings, commands, permissions, log, reasons.

`python -m pipeline.guide` writes them, `make docs` calls it, and tests compare them with what is committed. So no
column, window, key, option, log line or reason is described that the product does not have.
"""
