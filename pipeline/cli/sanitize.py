"""`sanitize`: one Graph answer on stdin, what would leave of it on stdout."""

import os
import sys
from pathlib import Path
from typing import Any

import typer

from config.faults import nearest
from config.load import load_privacy_only
from config.model import Privacy
from config.permissions import GROUP_DATASETS
from config.secrets import SecretReader
from pipeline.cli.console import Globals, say
from pipeline.cli.settings import settings_file
from pipeline.errors import ConfigurationError
from pipeline.exits import Exit
from pipeline.operator_files import read_rules_file
from pipeline.protection import build_pseudonymizer
from pipeline.sanitize.grammar import load_rest_rules
from pipeline.sanitize.graph_paths import SHAPES, dataset_at, relative
from pipeline.sanitize.java_text import json_text
from pipeline.sanitize.preview import Previewer
from pipeline.sanitize.pseudonym import Pseudonymizer
from pipeline.sanitize.record_rules import Rejected, decode_record
from pipeline.sanitize.row_engine import RowEngine, RuleFailed
from pipeline.sanitize.rules import PROFILES, built_in_rules
from pipeline.sanitize.treatments import Treatments


def sanitize(options: Globals, *, path: str, rules_file: Path | None, profile: str | None) -> Exit:
    """Exit 4 when records of the answer had to be left out."""
    if profile is not None and profile not in PROFILES:
        raise ConfigurationError(f"--profile: {' or '.join(PROFILES)} is expected")
    reader = SecretReader(environ=os.environ)
    privacy = load_privacy_only(
        settings_file(options), environ=os.environ, overrides={"privacy.profile": profile}, reader=reader
    )
    pseudonymizer = build_pseudonymizer(privacy, reader)
    if rules_file is not None:
        return _with_file(rules_file, path, pseudonymizer)
    return _with_built_in_rules(path, privacy, pseudonymizer)


def _with_file(file: Path, path: str, pseudonymizer: Pseudonymizer) -> Exit:
    """Exactly what a Psoxy proxy with these rules would answer."""
    rules = load_rest_rules(read_rules_file(file), name=str(file))
    endpoint = rules.match_shape(relative(path))
    if endpoint is None:
        names = [each.name for each in rules.endpoints]
        raise ConfigurationError(
            f"--path: {file} has no endpoint for it; nearest is {nearest(path, names)}. "
            "Where the file expects a reversible token in place of an id, write {} there"
        )
    engine = RowEngine(rules, pseudonymizer)
    try:
        _print(engine.sanitize(endpoint, _answer()))
    except RuleFailed as failure:
        raise ConfigurationError(f"stdin: cannot be sanitized: {failure}") from None
    return Exit.COMPLETE


def _with_built_in_rules(path: str, privacy: Privacy, pseudonymizer: Pseudonymizer) -> Exit:
    dataset = dataset_at(path)
    if dataset is None:
        known = (f"  {each}: /v1.0{shapes[0]}" for each, shapes in SHAPES.items())
        raise ConfigurationError("--path: no dataset is read from it; known are, among others:", *known)
    if dataset in GROUP_DATASETS and not privacy.groups:
        raise ConfigurationError(f"--path: nothing of {dataset} leaves, because privacy.groups is false")
    previewer = Previewer(
        built_in_rules()[dataset],
        profile=privacy.profile,
        treatments=Treatments(pseudonymizer, group_original=privacy.group_original),
    )
    try:
        preview = previewer.sanitize(_answer())
    except Rejected as rejection:
        raise ConfigurationError(f"stdin: cannot be sanitized: {rejection.reason}") from None
    _print(preview.document)
    for reason, count in sorted(preview.rejected.items()):
        say(f"{count} of the records left out: {reason}")
    return Exit.PARTIAL if preview.rejected else Exit.COMPLETE


def _answer() -> dict[str, Any]:
    """The JSON object on stdin."""
    try:
        document = decode_record(sys.stdin.buffer.read())
    except Rejected as rejection:
        raise ConfigurationError(f"stdin: {rejection.reason}") from None
    if not isinstance(document, dict):
        raise ConfigurationError("stdin: a Graph answer or one object is expected")
    if "error" in document and "id" not in document:
        raise ConfigurationError("stdin: this is an error of Graph, not an answer")
    return document


def _print(document: object) -> None:
    typer.echo(json_text(document).encode("utf-8", "replace"))
