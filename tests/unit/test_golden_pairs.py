"""What leaves of a record, before and after, for every dataset in every profile. After a wanted change:

python -m tests.unit.test_golden_pairs
"""

import json
from pathlib import Path

import pytest

from pipeline.sanitize.preview import Previewer
from pipeline.sanitize.pseudonym import Pseudonymizer
from pipeline.sanitize.rules import PROFILES, Profile, built_in_rules
from pipeline.sanitize.treatments import Treatments
from tests.unit.pair_records import pair_records

GOLDEN = Path(__file__).parent.parent / "golden" / "pairs"
TREATMENTS = Treatments(
    Pseudonymizer(salt="golden-pairs-salt-0123456789", encryption_key="golden-pairs-key"),
    group_original=True,
    holds_person=lambda text: "Dana" in text,
)
EVERY_PAIR = [(dataset, profile) for dataset in sorted(built_in_rules()) for profile in PROFILES]


def rendered(dataset: str, profile: Profile) -> str:
    """The pairs of one dataset, as in its golden file."""
    rules = built_in_rules()[dataset]
    previewer = Previewer(rules, profile=profile, treatments=TREATMENTS)
    pairs = [{"before": record, "after": previewer.sanitize(record).document} for record in pair_records(rules)]
    return json.dumps(pairs, indent=1, ensure_ascii=False) + "\n"


@pytest.mark.parametrize(("dataset", "profile"), EVERY_PAIR)
def test_the_pairs_are_the_golden_ones(dataset: str, profile: Profile) -> None:
    """A change of what leaves, of whatever field, shows in review."""
    assert rendered(dataset, profile) == (GOLDEN / f"{dataset}.{profile}.json").read_text(encoding="utf-8")


def test_there_are_no_pairs_of_a_dataset_that_is_gone() -> None:
    """The folder holds the datasets and profiles of the rules, and no others."""
    assert {path.stem for path in GOLDEN.glob("*.json")} == {f"{dataset}.{profile}" for dataset, profile in EVERY_PAIR}


@pytest.mark.parametrize(("dataset", "profile"), EVERY_PAIR)
def test_no_name_address_or_number_of_the_records_is_left(dataset: str, profile: Profile) -> None:
    """None of the planted people's data is in what leaves; a group's own address is, where it may stay."""
    after = json.dumps([pair["after"] for pair in json.loads(rendered(dataset, profile))])

    planted = [
        "Dana",
        "dana.fox",
        "dana@",
        "555 0100",
        "5550100",
        "5550***",
        "192.0.2.7",
        "aviary@",
        "room7@",
        "secret",
    ]
    assert [text for text in planted if text in after] == []


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, each in EVERY_PAIR:
        (GOLDEN / f"{name}.{each}.json").write_text(rendered(name, each), encoding="utf-8")
