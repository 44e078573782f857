"""What `verify` works with, put together from what somebody has who may only read the destination."""

from config.model import ReaderSettings, RuleOptions
from pipeline.app import build_guards
from pipeline.manifest import Manifest
from pipeline.operator_files import operator_rules
from pipeline.sanitize.columns import output_schema
from pipeline.sanitize.directory_index import DirectoryIndex
from pipeline.sanitize.rules import PROFILES, DatasetRules, built_in_rules
from pipeline.verify import DatasetCheck, Verified, verify
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
            reader,
            run_id,
            datasets=rules,
            check_for=lambda dataset, manifest: dataset_check(rules, settings.privacy, dataset, manifest),
        )
    finally:
        await reader.close()


def dataset_check(
    rules: dict[str, DatasetRules], options: RuleOptions, dataset: str, manifest: Manifest
) -> DatasetCheck:
    """How the parts of a dataset are looked at: as the manifest says they were made, not as the settings are now."""
    rule_set = rules.get(dataset)
    profile = next((known for known in PROFILES if known == manifest.profile), None)
    version = manifest.schema_versions.get(dataset)
    if rule_set is None or profile is None or version not in (None, rule_set.version):
        return UnknownSchemaCheck(written_by=manifest.tool_version)
    guards = build_guards(options.model_copy(update={"profile": profile}), {dataset: rule_set}, rules, DirectoryIndex())
    schema = part_schema(
        output_schema(rule_set),
        dataset=dataset,
        schema_version=rule_set.version,
        rules_fingerprint=manifest.rules_fingerprint,
        profile=profile,
    )
    return PartCheck(schema, run_id=manifest.run_id, key=rule_set.key, guard=guards[dataset])
