"""What `verify` works with, put together from what somebody has who may only read the destination."""

from collections.abc import Mapping

from config.model import ReaderSettings
from pipeline.manifest import Manifest
from pipeline.operator_files import operator_rules
from pipeline.protection import build_guards
from pipeline.sanitize.columns import output_schema
from pipeline.sanitize.directory_index import DirectoryIndex
from pipeline.sanitize.published_rules import published_rules
from pipeline.sanitize.rules import PROFILES, DatasetRules, built_in_rules
from pipeline.verify import CheckFor, DatasetCheck, Verified, verify
from sinks.parquet.check import PartCheck, UnknownSchemaCheck
from sinks.parquet.schema import part_schema
from sinks.stores.registry import open_reader


async def verify_export(settings: ReaderSettings, run_id: str | None) -> Verified:
    """Compare a run with its manifest; without `run_id` the last sealed one.

    Raises:
        ConfigurationError: there is no such sealed run.
        StoreRefused, StoreUnavailable
    """
    rules = {**built_in_rules(), **operator_rules(settings.privacy.rules.paths, built_in_rules())}
    reader = open_reader(settings.destination, settings.storage)
    try:
        return await verify(
            reader, run_id, datasets=rules, checks_of=lambda manifest, ledger: dataset_checks(rules, manifest, ledger)
        )
    finally:
        await reader.close()


def dataset_checks(rules: Mapping[str, DatasetRules], manifest: Manifest, ledger: bytes | None) -> CheckFor:
    """How the parts of each dataset are looked at: as the run's files say they were made, not as settings are now.

    `rules` count only where the run's field ledger does not say what was done.
    """
    profile = next((known for known in PROFILES if known == manifest.profile), None)
    if profile is None:
        return lambda _dataset: UnknownSchemaCheck(written_by=manifest.tool_version)
    published = published_rules(ledger, rules, profile)

    def check_for(dataset: str) -> DatasetCheck:
        rule_set = published.rules.get(dataset)
        if rule_set is None or manifest.schema_versions.get(dataset) not in (None, rule_set.version):
            return UnknownSchemaCheck(written_by=manifest.tool_version)
        guards = build_guards(
            {dataset: rule_set}, published.rules, profile=profile, forms=published.forms, directory=DirectoryIndex()
        )
        schema = part_schema(
            output_schema(rule_set),
            dataset=dataset,
            schema_version=rule_set.version,
            rules_fingerprint=manifest.rules_fingerprint,
            profile=profile,
        )
        return PartCheck(schema, run_id=manifest.run_id, key=rule_set.key, guard=guards[dataset])

    return check_for
