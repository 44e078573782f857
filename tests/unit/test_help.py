"""Help that cannot rot: every command and option explains itself, and every example is a call that parses."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from pipeline.cli.console import hoist
from pipeline.cli.main import app

PROGRAM = "m365-export"
ROOT: Any = typer.main.get_command(app)
REDIRECTION = re.compile(r" [<>] \S+$")


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name, each in inner.items():
        yield from _commands(each, (*path, name))


COMMANDS = dict(_commands(ROOT))
ALL = pytest.mark.parametrize("path", COMMANDS, ids=" ".join)


def _examples(text: str) -> list[list[str]]:
    """The words of each example after the program's name."""
    lines = re.findall(r"^Example: (.*)$", text, flags=re.MULTILINE)
    words = [shlex.split(REDIRECTION.sub("", line)) for line in lines]
    assert all(each[0] == PROGRAM for each in words)
    return [each[1:] for each in words]


@ALL
def test_every_command_and_parameter_has_help(path: tuple[str, ...]) -> None:
    """A first sentence for the list of commands, and a word about each option and argument."""
    command = COMMANDS[path]
    assert command.help.partition("\n")[0].endswith(".")
    for parameter in command.params:
        assert parameter.help, f"{' '.join(path)} {parameter.opts}"


@ALL
def test_every_option_stands_in_an_example_that_parses(path: tuple[str, ...]) -> None:
    """An option that was renamed, or takes something else now, breaks its example."""
    command = COMMANDS[path]
    examples = _examples(command.help)
    assert examples
    for words in examples:
        assert tuple(words[: len(path)]) == path
        command.make_context(PROGRAM, words[len(path) :])
    shown = {word for words in examples for word in words}
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert shown & set(parameter.opts), f"{' '.join(path)} {parameter.opts}"


def test_the_global_options_have_help_and_examples() -> None:
    """They go before or after the command; the list of commands shows how."""
    examples = _examples(ROOT.epilog)
    shown = {word for words in examples for word in words}
    for parameter in ROOT.params:
        assert parameter.help, parameter.opts
        if parameter.name != "show_completion":  # the other half of --install-completion
            assert shown & set(parameter.opts), parameter.opts
    for words in examples:
        if "--version" not in words and "--install-completion" not in words:
            ROOT.make_context(PROGRAM, hoist(words))


def test_the_settings_file_is_looked_for_where_the_help_says() -> None:
    """The variable that takes its place is named in the option's own words, which the page repeats."""
    (config,) = [parameter for parameter in ROOT.params if parameter.name == "config"]
    assert f"${config.envvar}" in (config.help or "")


def test_the_list_of_commands_names_all_of_them() -> None:
    """With the first sentence of each."""
    listing = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).stdout
    for path in COMMANDS:
        assert path[0] in listing


def test_a_wrong_option_names_the_right_one() -> None:
    """Exit 2; the message says what was probably meant."""
    done = CliRunner().invoke(app, ["run", "--dead-line", "6h"])
    assert done.exit_code == 2
    assert "--deadline" in done.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_there_for_each_shell(shell: str) -> None:
    """The script that a shell sources names the command it completes."""
    done = CliRunner().invoke(app, [], prog_name=PROGRAM, env={"_M365_EXPORT_COMPLETE": f"source_{shell}"})
    assert done.exit_code == 0
    assert PROGRAM in done.stdout
    assert "_M365_EXPORT_COMPLETE" in done.stdout


def test_completion_offers_commands_and_options() -> None:
    """What a shell asks for when a word is begun."""
    runner = CliRunner()

    def offered(line: str) -> set[str]:
        env = {"_M365_EXPORT_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        return set(runner.invoke(app, [], prog_name=PROGRAM, env=env).stdout.split())

    assert offered(f"{PROGRAM} sta") == {"status"}
    assert offered(f"{PROGRAM} status --w") == {"--watch"}
