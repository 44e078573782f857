"""`verify` by somebody who may read the destination and knows none of the export's settings."""

from datetime import timedelta
from pathlib import Path

import pytest

from config.load import load_reader_settings
from config.model import ReaderSettings
from connectors.emulator import TenantProfile
from pipeline.verification import verify_export
from tests.integration.conftest import OpenSite
from tests.integration.site import Site
from tests.integration.test_operator_rules import rules_files

PRIVACY: dict[str, dict[str, object]] = {
    "tokenize": {"privacy.email_domains": "tokenize"},
    "encrypt": {"privacy.email_domains": "encrypt", "privacy.encryption_key": "env:KEY"},
    "redact": {"privacy.email_domains": "redact"},
    "psoxy without original": {"privacy.profile": "psoxy", "privacy.group_original": False},
}


def reader_settings(site: Site, file: Path) -> ReaderSettings:
    file.write_text(f"destination: file://{site.folder}/data\n")
    return load_reader_settings(file, environ={})


async def differences(site: Site, file: Path) -> list[str]:
    verified = await verify_export(reader_settings(site, file), None)
    assert verified.rows > 50
    return [str(difference) for difference in verified.differences]


@pytest.mark.parametrize("with_ledger", [True, False], ids=["", "without a ledger"])
@pytest.mark.parametrize("privacy", PRIVACY.values(), ids=PRIVACY.keys())
async def test_a_reader_need_not_know_how_addresses_are_spelt(
    open_site: OpenSite, tmp_path: Path, privacy: dict[str, object], *, with_ledger: bool
) -> None:
    """Whatever becomes of domains: the run's ledger tells it, and without one every form that there is passes."""
    site = await open_site(users=4, history=timedelta(days=2), profile=TenantProfile.quiet(), keys=privacy)
    site.environ["KEY"] = "verify-key-0123456789"
    run = await site.run()
    ledger = site.folder / "data" / "_manifests" / f"{run.run_id}.fields.json"
    assert ledger.exists()
    if not with_ledger:
        ledger.unlink()

    assert await differences(site, tmp_path / "reader.yaml") == []


async def test_a_spelling_that_the_export_did_not_choose_is_found(open_site: OpenSite, tmp_path: Path) -> None:
    """Domains in the clear are a difference where the run's ledger says that they are tokens."""
    site = await open_site(users=4, history=timedelta(days=2), profile=TenantProfile.quiet())
    run = await site.run()
    ledger = site.folder / "data" / "_manifests" / f"{run.run_id}.fields.json"
    ledger.write_text(ledger.read_text().replace('"preserve"', '"tokenize"'))

    assert {told.rpartition("  ")[2].partition(":")[0] for told in await differences(site, tmp_path / "r.yaml")} == {
        "guard"
    }


async def test_a_reader_need_not_have_the_operators_rules_files(open_site: OpenSite, tmp_path: Path) -> None:
    """What a file let stay, the ledger tells too."""
    site = await open_site(
        users=4, history=timedelta(days=2), profile=TenantProfile.quiet(), keys=rules_files(tmp_path)
    )
    await site.run()

    assert await differences(site, tmp_path / "reader.yaml") == []
