"""The page of the command line, as Markdown: every command with its arguments and options, from the parser itself."""

from collections.abc import Iterator

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from pipeline.cli.main import app

INTRODUCTION = """\
# Command line

Written by `make docs` from the program itself; `m365-export run --help` says the same of `run`. Results go to stdout,
logs and progress to stderr. What an exit code means: [operators](operators.md#exit-codes).

- INSTANT: `2026-03-01` (midnight UTC) or `2026-03-01T02:30:00Z`; an offset is converted, a time without one is an
  error.
- DURATION: `90s`, `15m`, `6h`, `30d` or ISO 8601 (`PT6H`).

"""


def commands_page() -> str:
    """The whole page."""
    return INTRODUCTION + "\n".join(_command(command_line(), "m365-export"))


def command_line() -> TyperGroup:
    """The parser of the whole command line."""
    root = typer.main.get_command(app)
    if not isinstance(root, TyperGroup):
        raise TypeError("the command line has commands")
    return root


def _command(command: TyperCommand | TyperGroup, path: str) -> Iterator[str]:
    """A command, then those below it. The root's own options are those of every command."""
    below = command.commands if isinstance(command, TyperGroup) else {}
    yield f"## {path.partition(' ')[2] or 'Before or after every command'}"
    yield ""
    if not below:
        pieces = command.collect_usage_pieces(typer.Context(command, info_name=path))
        usage = " ".join([path, *pieces]).replace("[[", "[").replace("]]", "]")
        yield f"```\n{usage}\n```"
        yield ""
    for paragraph in (command.help or "").split("\n\n"):
        text = " ".join(paragraph.split())
        yield f"Example: `{text.removeprefix('Example: ')}`" if text.startswith("Example: ") else text
        yield ""
    if command.params:
        yield "| option | meaning | default |"
        yield "|---|---|---|"
        yield from (_parameter(parameter) for parameter in command.params)
        yield ""
    for name, inner in below.items():
        if isinstance(inner, TyperCommand | TyperGroup):
            yield from _command(inner, f"{path} {name}")


def _parameter(parameter: object) -> str:
    if not isinstance(parameter, TyperOption | TyperArgument):
        raise TypeError(f"{type(parameter).__name__} is no option of typer's")
    takes = "" if isinstance(parameter, TyperOption) and parameter.is_flag else parameter.metavar or ""
    names = ", ".join(parameter.opts) if isinstance(parameter, TyperOption) else ""
    shown = "" if parameter.default is None or isinstance(parameter.default, bool) else f"`{parameter.default}`"
    value = "required" if parameter.required else shown
    return f"| `{_cell(f'{names} {takes}'.strip())}` | {_cell(parameter.help or '')} | {value} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
