"""The rules files that the settings name, joined with the built-in rules of the datasets they speak of."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from config.model import ConnectorName
from pipeline.errors import ConfigurationError
from pipeline.sanitize.grammar import load_rest_rules
from pipeline.sanitize.graph_paths import SHAPES, endpoint_for
from pipeline.sanitize.operator_rules import OperatorDataset, effective_rules, lost_keys, operator_dataset
from pipeline.sanitize.pseudonym import Pseudonymizer
from pipeline.sanitize.rules import DatasetRules


@dataclass(frozen=True, slots=True)
class OperatorFiles:
    """`datasets` has each dataset for which a file has an endpoint; `digests` names each file's content."""

    datasets: Mapping[str, OperatorDataset]
    digests: Mapping[str, str]
    uncovered: Mapping[str, str]

    def require(self, used: Collection[str]) -> None:
        """Raises ConfigurationError when a dataset that is read has a file but no endpoint in it, or loses its key."""
        faults = [fault for dataset, fault in self.uncovered.items() if dataset in used]
        if faults:
            raise ConfigurationError(*faults)


def load_operator_files(
    paths: Mapping[ConnectorName, Path], rules: Mapping[str, DatasetRules], pseudonymizer: Pseudonymizer
) -> OperatorFiles:
    """The files at `paths`, by connector.

    Raises:
        ConfigurationError: a file cannot be read or used; every fault with its line.
    """
    datasets: dict[str, OperatorDataset] = {}
    uncovered: dict[str, str] = {}
    digests: dict[str, str] = {}
    faults: list[str] = []
    for connector, path in paths.items():
        own = [rule_set for rule_set in rules.values() if rule_set.connector == connector]
        try:
            content = read_rules_file(path)
            file = load_rest_rules(content, name=str(path))
            found = [operator_dataset(rule_set, file, pseudonymizer, source=str(path)) for rule_set in own]
        except ConfigurationError as error:
            faults += error.faults
            continue
        digests[connector] = hashlib.sha256(content).hexdigest()
        for rule_set, each in zip(own, found, strict=True):
            dataset = rule_set.dataset
            if each is None:
                wanted = f"has no endpoint for {dataset}; add one for /v1.0{SHAPES[dataset][0]}"
                uncovered[dataset] = f"privacy.rules.{connector}: {path} {wanted}"
            elif lost := lost_keys(each.rules):
                uncovered[dataset] = (
                    f"privacy.rules.{connector}: {path} removes {', '.join(lost)}, the key of {dataset}"
                )
            else:
                datasets[dataset] = each
    if faults:
        raise ConfigurationError(*faults)
    return OperatorFiles(datasets, digests, uncovered)


def operator_rules(paths: Mapping[ConnectorName, Path], rules: Mapping[str, DatasetRules]) -> dict[str, DatasetRules]:
    """What the files at `paths` make of each dataset's rules; takes no salt, and sanitizes nothing.

    Raises:
        ConfigurationError: a file cannot be read or used; every fault with its line.
    """
    decided: dict[str, DatasetRules] = {}
    for connector, path in paths.items():
        file = load_rest_rules(read_rules_file(path), name=str(path))
        for rule_set in rules.values():
            endpoint = endpoint_for(file, rule_set.dataset) if rule_set.connector == connector else None
            if endpoint is not None:
                decided[rule_set.dataset] = effective_rules(rule_set, endpoint, source=str(path))
    return decided


def read_rules_file(path: Path) -> bytes:
    """Raises ConfigurationError for a file that cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
