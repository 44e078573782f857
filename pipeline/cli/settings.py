"""Finds and loads the settings a command works with."""

import os
from collections.abc import Mapping
from pathlib import Path

from config.load import load_settings
from config.model import Settings
from config.secrets import SecretReader
from pipeline.cli.console import Globals
from pipeline.errors import ConfigurationError

DEFAULT_FILE = Path("m365-export.yaml")


def settings_file(options: Globals) -> Path | None:
    """`--config`, else ./m365-export.yaml where it exists, else none: the environment may say everything."""
    if options.config is not None:
        if not options.config.is_file():
            raise ConfigurationError(f"--config: there is no settings file {options.config}")
        return options.config
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None


def existing_settings_file(options: Globals) -> Path | None:
    """As `settings_file`, for commands that cannot do without settings.

    Raises:
        ConfigurationError: neither a file nor the environment has any.
    """
    path = settings_file(options)
    if path is None and not any(name.startswith("M365_EXPORT__") for name in os.environ):
        raise ConfigurationError(
            "no settings: there is no ./m365-export.yaml; name a file with --config or M365_EXPORT_CONFIG"
        )
    return path


def load(options: Globals, overrides: Mapping[str, object] = {}) -> tuple[Settings, SecretReader]:
    """The checked settings and the reader that holds their secrets.

    Raises:
        SettingsError: with every fault of the settings.
    """
    path = existing_settings_file(options)
    reader = SecretReader(environ=os.environ)
    return load_settings(path, environ=os.environ, overrides=overrides, reader=reader), reader
