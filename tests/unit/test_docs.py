"""The pages say what the program does: links lead somewhere, commands parse, keys exist, numbers are the code's."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest
import yaml
from typer.core import TyperCommand, TyperGroup

from config import defaults
from config.load import load_settings
from config.secrets import SecretReader
from config.setup import words
from connectors.graph.budgets import Budgets
from pipeline import estimate
from pipeline.app import CACHE_SHARE, MIB, SLACK_SHARE, WARMING_BYTES
from pipeline.cli.console import hoist
from pipeline.execution import STOP_GRACE, TRIES_OF_A_DIFFERENCE
from pipeline.facts import FACTS_VERSION, MOST_DAYS, MOST_WAITS, SAME_WAIT_WITHIN, SLOWEST_UNITS
from pipeline.guide.commands import command_line
from pipeline.guide.settings import keys
from pipeline.lease import LEASE_LIFETIME
from pipeline.live import EVERY_CLOUD, EVERY_LOCAL
from pipeline.memory import SHARES_OF_A_ROW_GROUP, SHARES_OF_A_UNIT
from pipeline.model import RunKind
from pipeline.ports import Debts, Reach
from pipeline.reading import DAMAGED
from pipeline.rules_check import check_rules_file
from pipeline.run import Request, export
from pipeline.sanitize import record_rules
from pipeline.sanitize.row_engine import Reason
from pipeline.sanitize.rules import built_in_rules
from pipeline.workers.coordinator import GRANT, MOST_LOSSES, SKEW, WORKERS_WAIT_S
from sinks.parquet.encoder import ROW_GROUP_ROWS
from sinks.stores.memory import Step
from tests.harness import Harness, SmallConnector, SmallTenant

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md")]
)
_FENCE = re.compile(r"^( *)```(.*?)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@cache
def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def prose(page: str) -> str:
    """The page without its blocks of code."""
    return _FENCE.sub("", text_of(page))


def blocks(page: str, *languages: str) -> list[str]:
    return [body for _, language, body in _FENCE.findall(text_of(page)) if language.partition(" ")[0] in languages]


def anchors(page: str) -> set[str]:
    """The anchors GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    """To a file or folder of the repository, and to a heading that is there."""
    for link in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        assert target.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in anchors(target.relative_to(ROOT).as_posix()), f"{page}: {link}"


def commands(page: str) -> Iterator[str]:
    """Every call of the program, in blocks of shell and in the text."""
    for body in blocks(page, "", "sh", "console"):
        for line in body.replace("\\\n", " ").splitlines():
            if "[OPTIONS]" not in line and (
                found := re.match(r"(?:.*\|\s*)?(?:\S*/)?(m365-export .*)", line.partition("    #")[0])
            ):
                yield found[1]
    for code in _CODE.findall(prose(page)):
        if code.startswith("m365-export "):
            yield code


def parse(command: str) -> None:
    """Raises: what typer raises for a command, option or value that it does not know."""
    words_ = shlex.split(re.split(r"\s[|<>]|\s&|\[", command)[0].replace("…", ""))
    parse_below(command_line(), "m365-export", hoist(words_[1:]))


def parse_below(command: TyperCommand | TyperGroup, name: str, arguments: list[str]) -> None:
    """What stands before the name of the next command on the way is the options of this one."""
    if not isinstance(command, TyperGroup):
        command.make_context(name, [argument for argument in arguments if argument != "--help"])
        return
    at = next((index for index, argument in enumerate(arguments) if argument in command.commands), len(arguments))
    known = {option for parameter in command.params for option in parameter.opts}
    for argument in arguments[:at]:
        if argument.startswith("-") and argument.partition("=")[0] not in known:
            raise ValueError(f"No such option: {argument}")
    if at == len(arguments):  # nothing is run here: the root's options may do something when they are parsed
        if arguments and not arguments[0].startswith("-"):
            raise ValueError(f"No such command: {arguments[0]}")
        return
    inner = command.commands[arguments[at]]
    assert isinstance(inner, TyperCommand | TyperGroup)
    parse_below(inner, arguments[at], arguments[at + 1 :])


ALL_COMMANDS = sorted({(page, command) for page in PAGES for command in commands(page)})


@pytest.mark.parametrize(("page", "command"), ALL_COMMANDS)
def test_every_command_parses(page: str, command: str) -> None:
    """With all its options; what is named without its values is at least a command."""
    parse(command)


def test_the_search_for_commands_finds_them() -> None:
    """In blocks, behind a pipe, with a path before it, and in the text; and a wrong option is noticed."""
    found = {command for page, command in ALL_COMMANDS if page == "docs/getting-started.md"}
    assert {"m365-export doctor", "m365-export sanitize --path /v1.0/users"} <= found
    assert any(command.startswith("m365-export emulator --users") for command in found)
    assert "m365-export rules show" in {command for _, command in ALL_COMMANDS}
    with pytest.raises(Exception, match="No such option"):
        parse("m365-export run --frm 2026-01-01")
    with pytest.raises(Exception, match="No such command"):
        parse("m365-export rnu")


SECTIONS = "tenant|auth|connectors|windows|scope|privacy|storage|output|limits|telemetry"
_KEY = re.compile(rf"(?:{SECTIONS})\.[a-z0-9_.-]*[a-z0-9]|initial_lookback")


@pytest.mark.parametrize("page", PAGES)
def test_every_settings_key_exists(page: str) -> None:
    """`scope.suppress`, `privacy.rules` and the like, wherever a page names one as code."""
    if page == "CHANGELOG.md":  # tells of keys that are gone
        return
    for code in _CODE.findall(prose(page)):
        key = code.partition(":")[0].strip()
        if _KEY.fullmatch(key):
            assert key in keys(), f"{page}: {key}"


def test_the_settings_of_the_first_steps_are_valid() -> None:
    """As they stand on the page, with a salt where they look for one."""
    (block,) = blocks("docs/getting-started.md", "yaml")
    written = yaml.safe_load(block.replace("file:salt", "env:SALT"))
    reader = SecretReader(environ={"SALT": "a-salt-of-some-length"})

    settings = load_settings(None, environ={}, overrides=written, reader=reader)

    assert settings.destination != settings.state


def test_every_reason_of_a_rejection_is_explained() -> None:
    """Those of the rules and those of an operator's rules file."""
    own = {
        record_rules.WRONG_TYPE, record_rules.NOT_AN_OBJECT, record_rules.MISSING_KEY, record_rules.NOT_JSON,
        record_rules.TOO_DEEP, record_rules.TOO_LARGE, DAMAGED, *Reason,
    }  # fmt: skip
    section = text_of("docs/operators.md").partition("## Why records are rejected")[2].partition("\n## ")[0]
    assert own == {
        code for line in section.splitlines() if line.startswith("| `") for code in _CODE.findall(line.split("|")[1])
    }


ORDINALS = {2: "second", 3: "third", 4: "fourth"}
SILENCE_S = (GRANT + SKEW).seconds
NUMBERS = {
    "README.md": [f"the last {defaults.INITIAL_LOOKBACK.days} days"],
    "docs/getting-started.md": [f"exports {defaults.INITIAL_LOOKBACK.days} days"],
    "deploy/README.md": [f"get {STOP_GRACE.seconds} seconds", f"default of {defaults.MEMORY_MIB}"],
    "docs/consumers.md": [f"until the {ORDINALS[TRIES_OF_A_DIFFERENCE]} that finds the same"],
    "docs/scaling.md": [
        f"up to {estimate.FEWEST_REQUESTS} in a small",
        f"more than {estimate.MOST_REQUESTS:,}",
        f"{Budgets().outlook_in_flight} open requests",
        f"More than {Budgets().most_workers} workers ({Budgets().share(0.5).most_workers} for a backfill",
        f"by others, {SILENCE_S} seconds later at the latest",
        f"exit 3 after {WORKERS_WAIT_S / 60:.0f} minutes at the latest",
        f"{('no', 'one', 'two', 'three', 'four')[MOST_LOSSES]} workers are lost at most",
    ],
    "docs/operators.md": [
        f"The {ORDINALS[TRIES_OF_A_DIFFERENCE]} run that finds it is the last",
        f"every {EVERY_LOCAL.seconds} seconds in a folder, every {EVERY_CLOUD.seconds} seconds in a bucket",
        f"({3600 // EVERY_CLOUD.seconds} writes an hour)",
        f"{SILENCE_S} seconds after its last sign of life",
        f"`{MOST_LOSSES} workers were lost over the same units`",
        f"differs by more than {('no', 'one', 'two', 'three')[SKEW.seconds]} seconds",
        f"expires after {LEASE_LIFETIME.seconds} seconds",
    ],
    "docs/facts.md": [
        f"`facts_version` | {FACTS_VERSION};",
        f"newest {MOST_DAYS} days",
        f"the {SLOWEST_UNITS} units that took longest",
        f"the {MOST_WAITS} longest",
        f"that follow within {SAME_WAIT_WITHIN.seconds} s",
    ],
    "docs/performance.md": [
        f"1/{CACHE_SHARE} for remembered pseudonyms, 1/{SLACK_SHARE} for what allocators keep",
        f"{WARMING_BYTES // MIB} MiB for code that is loaded on first use",
        f"1/{SHARES_OF_A_UNIT} stays free for the unit that began first",
        f"1/{SHARES_OF_A_ROW_GROUP} is what an open part gathers",
        f"A row group holds {ROW_GROUP_ROWS:,} rows",
    ],
    "docs/administrators.md": [f"`{defaults.ASSERTION_AUDIENCE}`", words.RESTRICTS, words.CONSENTS, words.REGISTERS],
}


@pytest.mark.parametrize("page", NUMBERS)
def test_numbers_are_those_of_the_code(page: str) -> None:
    """Defaults and limits that a sentence repeats."""
    flat = " ".join(text_of(page).split())
    for number in NUMBERS[page]:
        assert number in flat


def test_the_privacy_page_says_what_the_profiles_do() -> None:
    """The lines of its table that speak of single fields."""
    rules = {name: {rule.path: rule for rule in dataset.fields} for name, dataset in built_in_rules().items()}
    title, body = rules["calendar_events"]["subject"], rules["calendar_events"]["body.content"]
    user, group = rules["entra_users"]["id"], rules["entra_groups"]["displayName"]
    assert [title.treatment(profile) for profile in ("strict", "psoxy-no-app-ids", "psoxy")] == ["title-phrases"] * 3
    assert [body.treatment(profile) for profile in ("strict", "psoxy")] == ["drop", "zoom-links"]
    assert [group.treatment(profile) for profile in ("strict", "psoxy")] == ["drop", "free-text"]
    assert [user.treatment(profile) for profile in ("strict", "psoxy")] == ["pseudonymize", "keep"]
    for dataset in ("mail_messages", "teams_chat_messages", "teams_channel_messages"):
        assert not rules[dataset].keys() & {"body.content", "bodyPreview", "subject", "summary"}


def test_what_to_add_to_a_rules_file_is_without_faults() -> None:
    """The lines of the privacy page, in an endpoint for chats."""
    (lines,) = blocks("docs/privacy.md", "yaml")
    indented = "".join(f"    {line}\n" for line in lines.splitlines())
    checked = check_rules_file(
        f"endpoints:\n  - pathTemplate: /v1.0/users/{{userId}}/chats\n{indented}".encode(), name="teams.yaml"
    )
    assert checked.datasets == ("teams_chats",)
    assert checked.transforms == 2


class Debtor(SmallConnector):
    """Always owes something."""

    def remind(self, owed: bytes) -> None:
        """Nothing is read otherwise for it."""

    async def owed(self, reach: Reach) -> Debts:
        return Debts(b"something")


async def test_the_state_holds_what_the_table_says() -> None:
    """Every key that a run writes, also while it is at work, has a line; and every line has a key."""
    written: set[str] = set()

    async def note(step: Step) -> None:
        if step.action in {"create", "replace"}:  # of the state: the destination is published into
            written.add(step.key)

    harness = Harness(SmallTenant.with_mail(users=1, messages=1))
    equipment = harness.equip(hook=note)
    connectors = [*equipment.connectors, Debtor((), name="debtor")]
    equipment = replace(equipment, connectors=connectors, told_every=timedelta(seconds=1))
    await export(equipment, Request(kind=RunKind.RUN))

    table = text_of("docs/architecture.md").partition("## What the state holds")[2].partition("\n## ")[0]
    lines = [key for line in table.splitlines() if line.startswith("| `") for key in _CODE.findall(line.split("|")[1])]
    forms = {line: re.sub("<[^>]*>", "[^/]+", re.escape(line)).replace("…", ".+") for line in lines}
    assert {key for key in written if not any(re.fullmatch(form, key) for form in forms.values())} == set()
    assert {line for line, form in forms.items() if not any(re.fullmatch(form, key) for key in written)} == set()


def test_files_that_pages_name_exist() -> None:
    """Paths in the text, such as `config/rules` and `pipeline/scope.py`."""
    path = re.compile(r"(?:config|connectors|pipeline|sinks|tests|deploy|benchmarks|docs)/[\w./-]*\w")
    for page in PAGES:
        if page == "CHANGELOG.md":
            continue
        for code in _CODE.findall(prose(page)):
            if path.fullmatch(code):
                assert (ROOT / code).exists(), f"{page}: {code}"
