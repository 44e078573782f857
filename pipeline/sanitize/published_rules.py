"""The rules that the rows of a published run were made with, as the run's field ledger tells (see `ledger`).

Whoever reads a destination knows neither the settings of the export nor the operators' rules files it used. Where
there is no ledger, or one of an earlier version that says nothing of it, every form is possible that settings allow.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec

from pipeline.sanitize.pseudonym import DomainHandling
from pipeline.sanitize.rules import DatasetRules, FieldRule, Profile
from pipeline.sanitize.shapes import TokenForms, is_known

ANY_FORM = TokenForms(domains=None, group_original=True)


@dataclass(frozen=True, slots=True)
class PublishedRules:
    """Rules by dataset, and how pseudonyms are spelt."""

    rules: Mapping[str, DatasetRules]
    forms: TokenForms


def published_rules(ledger: bytes | None, rules: Mapping[str, DatasetRules], profile: Profile) -> PublishedRules:
    """`rules` with the treatments that the ledger names; `rules` themselves where it names none, or is damaged."""
    try:
        told = None if ledger is None else _ledgers.decode(ledger)
    except msgspec.DecodeError:
        told = None
    if told is None:
        return PublishedRules(rules, ANY_FORM)
    forms = ANY_FORM if told.forms is None else TokenForms(told.forms.email_domains, told.forms.group_original)
    return PublishedRules(
        {name: _as_told(rule_set, told.datasets.get(name), profile) for name, rule_set in rules.items()}, forms
    )


def _as_told(rules: DatasetRules, told: "_Dataset | None", profile: Profile) -> DatasetRules:
    if told is None:
        return rules
    treatments = {line.path: line.rule for line in told.fields if is_known(line.rule)}

    def treated(rule: FieldRule) -> FieldRule:
        treatment = treatments.get(rule.path, rule.treatment(profile))
        return replace(rule, treatments={**rule.treatments, profile: treatment})

    return replace(rules, fields=tuple(map(treated, rules.fields)))


class _Forms(msgspec.Struct):
    email_domains: DomainHandling
    group_original: bool


class _Line(msgspec.Struct):
    path: str
    rule: str


class _Dataset(msgspec.Struct):
    fields: list[_Line]


class _Ledger(msgspec.Struct):
    datasets: dict[str, _Dataset]
    forms: _Forms | None = None


_ledgers = msgspec.json.Decoder(_Ledger)
