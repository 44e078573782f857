"""Writes the pages that follow from the rules and the connectors: `docs/datasets.md` and the SQL beside it.

`python -m pipeline.guide` writes them, `make docs` calls it, and a test compares them with what is committed. So no
column, treatment or window is described that the product does not have.
"""
