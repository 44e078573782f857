"""What a command line command shares with the others: streams, global options, the way out.

Results go to stdout, logs and progress to stderr, so that a result can be piped.
"""

import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, NoReturn

import typer
from rich.console import Console

from config.faults import SettingsError
from pipeline.errors import ConfigurationError, ExportError, SourceRefused
from pipeline.exits import exit_of_error
from pipeline.telemetry import Log, LogFormat, configure_logging

PIPED_WIDTH = 500  # characters; a terminal has its own width
GLOBAL_FLAGS = frozenset({"--no-progress", "--version"})
GLOBAL_OPTIONS = frozenset({"--config", "--log-format", "--log-level"})
LogLevel = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Globals:
    """The options that go before or after any command."""

    config: Path | None
    log_format: LogFormat
    log_level: LogLevel
    show_progress: bool

    def logger(self) -> Log:
        return configure_logging(format_=self.log_format, level=self.log_level)


def out() -> Console:
    """Where results go; a pipe gets whole lines, however long."""
    return (
        Console(highlight=False) if sys.stdout.isatty() else Console(width=PIPED_WIDTH, soft_wrap=True, highlight=False)
    )


@contextmanager
def quiet_pipe() -> Iterator[None]:
    """A reader that has seen enough (`| head`) changes nothing about what was committed."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say(text: object) -> None:
    """A line for the operator, on stderr."""
    typer.echo(text, err=True)


def hoist(arguments: Sequence[str]) -> list[str]:
    """Move the global options to the front: they are accepted before and after the command."""
    hoisted: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        name, _, value = argument.partition("=")
        if argument == "--":
            rest += [argument, *waiting]
        elif argument in GLOBAL_FLAGS or (name in GLOBAL_OPTIONS and value):
            hoisted.append(argument)
        elif argument in GLOBAL_OPTIONS:
            hoisted += [argument, *islice(waiting, 1)]
        else:
            rest.append(argument)
    return hoisted + rest


def leave(error: BaseException) -> NoReturn:
    """Say what went wrong, in one line a fault, and exit with the code the contract gives it."""
    code, cause = exit_of_error(error)
    if isinstance(cause, SettingsError | ConfigurationError):
        for fault in cause.faults:
            say(fault)
    elif isinstance(cause, SourceRefused):
        say(f"{cause.code + ': ' if cause.code else ''}{cause}")
    elif isinstance(cause, ExportError):
        say(cause)
    else:
        _print_bug(cause)
    for note in getattr(cause, "__notes__", ()):
        say(note)
    raise SystemExit(code)


def _print_bug(error: BaseException) -> None:
    """Where an unexpected error arose, without its text: library errors quote values."""
    say(f"unexpected error ({type(error).__name__}); nothing half-visible was left behind:")
    for frame in traceback.extract_tb(error.__traceback__):
        say(f"  {frame.filename}:{frame.lineno} in {frame.name}")
    say("Please report these lines; the next run continues where this one stopped.")
