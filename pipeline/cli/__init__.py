"""The command line: parses, calls one function, prints, exits with a documented code."""

from pipeline.cli.main import main

__all__ = ["main"]
