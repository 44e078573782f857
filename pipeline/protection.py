"""What stands between Graph's records and a part, as the settings want it: pseudonyms, sanitizers, guards, owners."""

from collections.abc import Callable, Mapping
from functools import lru_cache

from config.model import Privacy, RuleOptions, Settings
from config.secrets import SecretReader
from pipeline.model import Principal
from pipeline.operator_files import OperatorFiles
from pipeline.ports import Source
from pipeline.reading import Sanitizer
from pipeline.sanitize.columnar import ColumnarSanitizer
from pipeline.sanitize.directory_index import EXTRA_SELECT, DirectoryIndex
from pipeline.sanitize.guard import EgressGuard
from pipeline.sanitize.operator_sanitizer import OperatorSanitizer
from pipeline.sanitize.pseudonym import DEFAULT_CACHE_ENTRIES, Pseudonymizer
from pipeline.sanitize.rules import (
    DatasetRules,
    FieldRule,
    Owner,
    Profile,
)
from pipeline.sanitize.shapes import TokenForms
from pipeline.sanitize.suppression import SuppressingSanitizer, Suppressor
from pipeline.sanitize.treatments import Treatments
from pipeline.scope import Wanted

PSEUDONYMS_KEPT = 4_096  # of principals; no run has more in flight
# The dataset whose `id` says how an owner of this kind is treated.
_OWNER_DATASETS: Mapping[Owner, str] = {
    "mailbox": "entra_users",
    "group": "entra_groups",
    "team": "teams_teams",
}


def build_pseudonymizer(
    privacy: Privacy, reader: SecretReader, *, cache_entries: int = DEFAULT_CACHE_ENTRIES
) -> Pseudonymizer:
    key = privacy.encryption_key
    return Pseudonymizer(
        salt=reader.read(privacy.salt).reveal_text(),
        encryption_key=None if key is None else reader.read(key).reveal_text(),
        canonicalization=privacy.email_canonicalization,
        domains=privacy.email_domains,
        cache_entries=min(cache_entries, DEFAULT_CACHE_ENTRIES),
    )


def asked_for(rules: DatasetRules, profile: Profile) -> tuple[str, ...]:
    """What Graph is asked for: what the rules keep, and of users what the egress guard compares with."""
    return tuple(dict.fromkeys((*rules.select(profile), *EXTRA_SELECT.get(rules.dataset, ()))))


def sanitizer_of(
    source: Source,
    rules: Mapping[str, DatasetRules],
    operators: OperatorFiles,
    profile: Profile,
    treatments: Treatments,
) -> Sanitizer:
    """The compiled engine, or the row engine where an operator's file decides."""
    decided = operators.datasets.get(source.dataset)
    if decided is not None:
        return OperatorSanitizer(decided, profile=profile, instants=source.instants)
    return ColumnarSanitizer(rules[source.dataset], profile=profile, treatments=treatments, instants=source.instants)


def suppression(wanted: Wanted, suppressor: Suppressor) -> Callable[[Sanitizer], Sanitizer]:
    """What a sanitizer is wrapped in, so that excluded people are unknown to it where the settings want that."""
    if not (wanted.suppress and wanted.narrows):
        return lambda sanitizer: sanitizer
    return lambda sanitizer: SuppressingSanitizer(sanitizer, suppressor)


def rule_options(settings: Settings, files: Mapping[str, str]) -> dict[str, object]:
    """What decides, beside the rules, about the rows; `files` are digests of operators' rules files."""
    privacy = settings.privacy
    return {
        **({"files": dict(files)} if files else {}),
        "canonicalization": privacy.email_canonicalization,
        "domains": privacy.email_domains,
        "group_original": privacy.group_original,
        "groups": privacy.groups,
        "reversible": privacy.encryption_key is not None,
        "layout": settings.output.layout,
    }


def owner_of(
    rules: Mapping[str, DatasetRules],
    operators: OperatorFiles,
    settings: Settings,
    treatments: Treatments,
    dataset: str,
    principal: Principal,
) -> str | None:
    """The `_owner` of a dataset's rows, treated as the id of its kind is treated everywhere else."""
    id_rule = _owner_rule(rules, dataset)
    kind = rules[dataset].owner
    if id_rule is None or kind is None:
        return None
    if (decided := operators.datasets.get(_OWNER_DATASETS[kind])) is not None:
        return decided.treated_id(principal.id)
    treatment = id_rule.treatment(settings.privacy.profile)
    if treatment == "keep":
        return principal.id
    return treatments[treatment]([principal.id])[0]


def token_forms(options: RuleOptions) -> TokenForms:
    return TokenForms(domains=options.email_domains, group_original=options.group_original)


def build_guards(
    used: Mapping[str, DatasetRules],
    rules: Mapping[str, DatasetRules],
    *,
    profile: Profile,
    forms: TokenForms,
    directory: DirectoryIndex,
) -> dict[str, EgressGuard]:
    """A guard for each dataset that is used; `rules` has also those that say how owners are treated."""
    return {
        dataset: EgressGuard(
            rule_set,
            profile=profile,
            directory=directory,
            forms=forms,
            owner=_owner_rule(rules, dataset),
        )
        for dataset, rule_set in used.items()
    }


def pseudonym_of(pseudonymizer: Pseudonymizer) -> Callable[[Principal], str]:
    """The pseudonym of a principal. While its units are read it is asked for again and again, so it is made once."""
    token = lru_cache(PSEUDONYMS_KEPT)(pseudonymizer.token)
    return lambda principal: token(principal.id) or ""


def _owner_rule(rules: Mapping[str, DatasetRules], dataset: str) -> FieldRule | None:
    """The rule of the id that `_owner` repeats."""
    kind = rules[dataset].owner
    if kind is None:
        return None
    return next(rule for rule in rules[_OWNER_DATASETS[kind]].fields if rule.path == "id")
