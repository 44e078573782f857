"""`setup`: what the Microsoft administrators have to do, for these settings, on stdout."""

import os

import typer

from config.faults import nearest
from config.load import load_settings
from config.setup import FORMATS, make_plan
from pipeline.cli.console import Globals
from pipeline.cli.settings import settings_file
from pipeline.errors import ConfigurationError
from pipeline.exits import Exit


def setup(options: Globals, *, form: str) -> Exit:
    """Reads no secret: there may be none yet."""
    if form not in FORMATS:
        raise ConfigurationError(f"--format: {', '.join(FORMATS)} are known; nearest is {nearest(form, FORMATS)}")
    settings = load_settings(settings_file(options), environ=os.environ)
    typer.echo(FORMATS[form](make_plan(settings)), nl=False)
    return Exit.COMPLETE
