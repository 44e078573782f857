"""What becomes of every field under the configured profile and options: the answer of `rules show`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from config.model import RuleOptions
from config.permissions import GROUP_DATASETS
from pipeline.operator_files import read_rules_file
from pipeline.sanitize.grammar import load_rest_rules
from pipeline.sanitize.graph_paths import endpoint_for
from pipeline.sanitize.ledger import Fate, fate_of
from pipeline.sanitize.operator_rules import effective_rules
from pipeline.sanitize.rest_rules import RestRules
from pipeline.sanitize.rules import DROP, PROFILES, RULES_FILE, DatasetRules, built_in_rules

MEANINGS: Mapping[str, str] = {
    "keep": "the value leaves as it is",
    "drop": "the value is not asked for and not written",
    "pseudonymize": "a salted hash (t~…); of an address the domain follows",
    "pseudonymize-reversible": "with an encryption key a token its holder can undo (p~…); else pseudonymize",
    "pseudonymize-smtp": "a salted hash of an alias (smtp:…); other kinds of aliases are emptied",
    "tokenize": "a salted hash of the text as it is; with an encryption key a token its holder can undo",
    "message-id-host": "a salted hash of the whole value, host name included",
    "keep-guid": "an object id stays; anything else in its place becomes a pseudonym",
    "chat-id": "each id inside a Teams thread id becomes a pseudonym",
    "join-url": "host kept, ids inside become pseudonyms, everything else is cut",
    "title-phrases": "only phrases that tell the kind of time stay",
    "zoom-links": "only Zoom links stay, without their passcode",
    "free-text": "typed text, Teams links as by join-url; with an address, number or name of a person it is emptied",
    RULES_FILE: "what the operator's rules file says",
}
_GROUP_ADDRESS = "the hash of a group's address with its domain"


@dataclass(frozen=True, slots=True)
class FieldLine:
    """One field and what becomes of it."""

    dataset: str
    path: str
    type: str
    treatment: str
    fate: Fate
    why: str
    source: str


@dataclass(frozen=True, slots=True)
class RulesReport:
    """Every field the rules know; what no rule knows never leaves. `notes` are about what a run would refuse."""

    fields: tuple[FieldLine, ...]
    treatments: Mapping[str, str]
    notes: tuple[str, ...]


def report_rules(options: RuleOptions) -> RulesReport:
    """Raises ConfigurationError: an operator's rules file cannot be used."""
    files = {
        connector: (str(path), load_rest_rules(read_rules_file(path), name=str(path)))
        for connector, path in options.rules.paths.items()
    }
    lines: list[FieldLine] = []
    notes: list[str] = []
    for rule_set in built_in_rules().values():
        effective = rule_set
        if rule_set.dataset in GROUP_DATASETS and not options.groups:
            effective = _closed(rule_set, why="privacy.groups is false", source="settings")
        elif rule_set.connector in files:
            name, file = files[rule_set.connector]
            effective, note = _by_file(rule_set, file, name)
            notes += note
        lines += _lines(effective, options)
    used = dict.fromkeys(line.treatment for line in lines)
    return RulesReport(tuple(lines), {name: _meaning(name, options) for name in used}, tuple(notes))


def _by_file(rules: DatasetRules, file: RestRules, name: str) -> tuple[DatasetRules, list[str]]:
    endpoint = endpoint_for(file, rules.dataset)
    if endpoint is not None:
        return effective_rules(rules, endpoint, source=name), []
    why = f"{name} has no endpoint for {rules.dataset}"
    return _closed(rules, why=why, source=name), [f"{why}: a run would refuse"]


def _closed(rules: DatasetRules, *, why: str, source: str) -> DatasetRules:
    treatments = dict.fromkeys(PROFILES, DROP)
    fields = (replace(rule, treatments=treatments, why=why, source=source) for rule in rules.fields)
    return replace(rules, fields=tuple(fields))


def _lines(rules: DatasetRules, options: RuleOptions) -> Iterator[FieldLine]:
    for rule in rules.fields:
        yield FieldLine(
            dataset=rules.dataset,
            path=rule.path,
            type=rule.type,
            treatment=rule.treatment(options.profile),
            fate=fate_of(rule, options.profile),
            why=rule.why,
            source=rule.source,
        )
    for path, why in rules.dropped.items():
        yield FieldLine(rules.dataset, path, "", DROP, "dropped", why, rules.source)


def _meaning(treatment: str, options: RuleOptions) -> str:
    if treatment == "group-address":
        return f"{_GROUP_ADDRESS}{' and the address itself' if options.group_original else ''}, as JSON text"
    return MEANINGS[treatment]
