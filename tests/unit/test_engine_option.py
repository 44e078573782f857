"""`--engine`: what it takes, and what is said where it cannot be had."""

import subprocess
import sys

import pytest

from pipeline.cli.engine import Place, parse_engine


def test_a_scheduler_or_so_many_workers_of_this_machine() -> None:
    """Both forms of the contract."""
    assert parse_engine("local:4") == Place(local=4)
    assert parse_engine("dask://scheduler.example:8786") == Place(address="scheduler.example:8786")


@pytest.mark.parametrize(
    "text", ["local", "local:0", "local:65", "local:x", "dask:host:1", "dask://host", "dask://:1", "ray://host:1", ""]
)
def test_anything_else_is_a_fault(text: str) -> None:
    """The message names both forms."""
    with pytest.raises(ValueError, match="dask://HOST:PORT or local:N"):
        parse_engine(text)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has not installed it learns how."""
    monkeypatch.setattr("pipeline.cli.engine.find_spec", lambda _name: None)
    with pytest.raises(ValueError, match=r"m365-export\[dask\]"):
        parse_engine("local:2")


def test_dask_is_not_imported_unless_it_is_asked_for() -> None:
    """The command line, worker side included, does without."""
    imports = "import sys, pipeline.cli.main, pipeline.cli.worker"
    code = f"{imports}; sys.exit(any(name in sys.modules for name in ('dask', 'distributed')))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
