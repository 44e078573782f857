"""The field ledger of a real run."""

import json
from datetime import timedelta

from tests.integration.conftest import OpenSite


async def test_the_rules_decide_about_every_field_of_the_tenant(open_site: OpenSite) -> None:
    """Whatever the emulated tenant sends is either kept or dropped for a reason: no path is met that nobody listed."""
    site = await open_site(users=25, history=timedelta(days=25))
    manifest = await site.run()

    ledger = json.loads((site.folder / "data" / "_manifests" / f"{manifest.run_id}.fields.json").read_text())
    unlisted = {
        f"{dataset}.{line['path']}"
        for dataset, body in ledger["datasets"].items()
        for line in body["fields"]
        if line["rule"] == "unlisted"
    }
    assert unlisted == set()
    scanned = {dataset for dataset, body in ledger["datasets"].items() if body["scanned_records"]}
    assert scanned == set(ledger["datasets"])  # or the test proves nothing of a dataset
