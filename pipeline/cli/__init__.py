"""The command line: parses, calls one function, prints, exits with a documented code."""

from pipeline import process

__all__ = ["main"]


def main() -> None:
    """Entry point of the `m365-export` command."""
    process.set_up()  # decides what the imports below may bring
    from pipeline.cli.main import main as command  # noqa: PLC0415 - what comes before it decides how it loads

    command()
