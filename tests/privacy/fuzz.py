"""Millions of values and documents with a planted word where a person's data stands; it must be in no output."""

import json
from collections import Counter
from collections.abc import Iterator
from random import Random

from pipeline.sanitize.grammar import load_rest_rules
from pipeline.sanitize.java_text import json_text
from pipeline.sanitize.ledger import fate_of
from pipeline.sanitize.operator_rules import operator_dataset
from pipeline.sanitize.preview import Previewer
from pipeline.sanitize.pseudonym import Pseudonymizer
from pipeline.sanitize.record_rules import Rejected, decode_record
from pipeline.sanitize.row_engine import RuleFailed
from pipeline.sanitize.rules import PROFILES, RULES_FILE, DatasetRules, Profile, built_in_rules
from pipeline.sanitize.treatments import Treatments
from tests.unit import psoxy_tables as tables
from tests.unit.wild_records import TEXTS, WildRecords

PLANTED = "zqPlantedqz"
PSEUDONYMS = Pseudonymizer(salt="fuzz-salt-0123456789", encryption_key="fuzz-key")
TREATMENTS = Treatments(PSEUDONYMS, group_original=False)
FILES: dict[str, list[dict[str, object]]] = {
    "entra_users": tables.ENTRA_ID_NO_APP_IDS,
    "entra_groups": tables.ENTRA_ID_NO_ORIGINAL,
    "mail_messages": tables.OUTLOOK_MAIL_NO_APP_IDS,
    "calendar_events": tables.OUTLOOK_CAL,
    "teams_chat_messages": tables.TEAMS_NO_USER_IDS,
    "teams_call_records": tables.TEAMS,
}

_PIECES = (
    "", " ", "\t", "\n", "\r\n ", "\u00a0", "\0", "\ud800", "\U0001f600", "é", "İ", ".", "..", "-", "_", "+", "=", "'",
    '"', "\\", "(", ")", "(x)", "<", ">", ",", ";", ":", "[", "]", "/", "#EXT#", "%40", "smtp:", "a", "Z", "9", "p~",
)  # fmt: skip
_ENDS = (
    "@example.org",
    " <a@example.org>",
    "@ex_ample.org",
    "@localhost",
    "@[10.0.0.1]",
    "@example.xn--p1ai",
    "@",
    "@@",
)


def values(random: Random, count: int) -> Iterator[str]:
    """Texts of every kind with the planted word in front of what could be a domain."""
    for _ in range(count):
        before = "".join(random.choices(_PIECES, k=random.randint(0, 3)))
        after = "".join(random.choices(_PIECES, k=random.randint(0, 3)))
        end = random.choice(_ENDS) if random.random() < 0.7 else ""
        tail = "".join(random.choices(_PIECES, k=random.randint(0, 2)))
        yield f"{before}{PLANTED}{after}{end}{tail}"


def fuzz_values(seed: int, count: int) -> int:
    """Every form of pseudonym of so many values; the number of forms made."""
    random = Random(seed)
    made = 0
    batch: list[str] = []
    for value in values(random, count):
        batch.append(value)
        if len(batch) == 1000:
            made += _check_batch(batch)
            batch = []
    return made + _check_batch(batch)


def _check_batch(batch: list[str]) -> int:
    tokens = PSEUDONYMS.tokens_once(batch)
    forms: list[str | None] = [*tokens]
    for value in batch[::20]:
        forms += [PSEUDONYMS.token(value), PSEUDONYMS.hash_only(value), PSEUDONYMS.as_json(value)]
        forms += [PSEUDONYMS.reversible(value), PSEUDONYMS.raw_token(value), PSEUDONYMS.email_header(value)]
        forms += [PSEUDONYMS.tokenize(value), PSEUDONYMS.hash_ip(value), PSEUDONYMS.encrypt_ip(value)]
    _check("".join(form or "" for form in forms))
    assert None not in tokens
    return len(forms)


def fuzz_documents(seed: int, count: int) -> Counter[str]:
    """So many documents through the built-in rules of every dataset and profile; how they ended."""
    random = Random(seed)
    ends: Counter[str] = Counter()
    kinds = [(rules, profile) for rules in built_in_rules().values() for profile in PROFILES]
    for rules, profile in kinds:
        previewer = Previewer(rules, profile=profile, treatments=TREATMENTS)
        for document in _documents(rules, profile, random, -(-count // len(kinds))):
            try:
                preview = previewer.sanitize(document)
            except Rejected as rejection:
                ends[rejection.reason] += 1
                continue
            _check(json_text(preview.document))
            ends["sanitized"] += 1
    return ends


def fuzz_documents_with_files(seed: int, count: int) -> Counter[str]:
    """So many documents through rules files; how they ended."""
    random = Random(seed)
    ends: Counter[str] = Counter()
    for dataset, endpoints in FILES.items():
        file = load_rest_rules(tables.render(endpoints))
        decided = operator_dataset(built_in_rules()[dataset], file, PSEUDONYMS, source="")
        assert decided is not None
        for document in _documents(decided.rules, "strict", random, -(-count // len(FILES)), dropped=False):
            try:
                sanitized = decided.engine.sanitize(decided.endpoint, document)
            except RuleFailed as failure:
                ends[failure.reason] += 1
                continue
            _check(json_text(sanitized))
            ends["sanitized"] += 1
    return ends


def _documents(
    rules: DatasetRules, profile: Profile, random: Random, count: int, *, dropped: bool = True
) -> Iterator[dict[str, object]]:
    """Records with the planted word in every text that does not leave as it is."""
    closed = {rule.path for rule in rules.fields if _is_closed(rules, rule.path, profile)}
    left_behind = set(rules.dropped) if dropped else set()
    planted = list(values(random, 500))

    def text(path: str) -> str:
        if path not in closed | left_behind:
            return random.choice(TEXTS)
        form = random.choice(("text", "thread", "link", "alias"))
        word = f"{PLANTED}{random.randint(0, 99)}"
        return {
            "text": random.choice(planted),
            "thread": f"19:meeting_{word}@thread.v2",
            "link": f"https://teams.microsoft.com/l/meetup-join/19%3a{word}%40thread.v2/0?x={word}",
            "alias": f"SMTP:{word}@example.org",
        }[form]

    wild = WildRecords(rules, random, text=text)
    made = 0
    while made < count:
        try:
            document = decode_record(wild.wild())
        except Rejected:
            continue
        if isinstance(document, dict):
            made += 1
            yield (
                document
                if random.random() < 0.5
                else {"@odata.context": PLANTED if dropped else "", "value": [document]}
            )


def _is_closed(rules: DatasetRules, path: str, profile: Profile) -> bool:
    rule = next(rule for rule in rules.fields if rule.path == path)
    return fate_of(rule, profile) in {"pseudonymized", "dropped"} and rule.treatment(profile) != RULES_FILE


def _check(output: str) -> None:
    if PLANTED.lower() in output.lower():
        raise AssertionError(f"a planted value left: {json.dumps(output)[:400]}")
