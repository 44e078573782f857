"""The doctor on an emulated tenant: each fault is found, with its remedy, and nothing personal is shown."""

import json
import re
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from config.load import load_settings
from config.model import CONNECTOR_NAMES
from config.permissions import NEEDS
from config.secrets import SecretReader
from connectors.emulator import ALL_ROLES, AppRegistration, MailboxKind, TenantProfile
from connectors.graph.clock import GraphClock
from pipeline.cli.doctor import exit_of
from pipeline.doctor import Examination, examine
from pipeline.exits import Exit
from pipeline.findings import Finding, Level
from pipeline.sanitize.pseudonym import salt_fingerprint
from tests.integration.conftest import OpenSite
from tests.integration.site import SALT, Site

OFF = timedelta(minutes=10)
NO_PROBES = Examination()


def roles_of(*connectors: str) -> tuple[str, ...]:
    """The least role of every dataset of these connectors, in profile strict."""
    return tuple(
        dict.fromkeys(
            need.role
            for need in NEEDS
            if need.connector in connectors and (need.profiles is None or "strict" in need.profiles)
        )
    )


@dataclass(slots=True)
class Patient:
    """A site, and the secrets of the applications its connectors sign in with."""

    site: Site
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def keys(self) -> dict[str, object]:
        return self.site.keys

    @property
    def user(self) -> str:
        """Somebody with an ordinary mailbox."""
        return self.site.tenant.user_ids[0]

    def some(self, kind: MailboxKind) -> str:
        return self.site.tenant.users_of(kind)[0]

    def register(self, *roles: str) -> AppRegistration:
        return self.site.emulator.register(roles=roles)

    def read_with(self, **applications: AppRegistration) -> None:
        """Let each connector sign in with its own application."""
        self.keys["connectors"] = {
            name.replace("_", "-"): {"auth": {"client_id": app.client_id, "client_secret": f"env:SECRET_{name}"}}
            for name, app in applications.items()
        }
        self.secrets = {f"SECRET_{name}": app.client_secret for name, app in applications.items()}

    async def examined(
        self, examination: Examination = NO_PROBES, *, off: timedelta = timedelta(0), profile: str = "strict"
    ) -> list[Finding]:
        """What the doctor finds; `off` is how far this machine's clock is ahead."""
        environ = {"CLIENT_SECRET": self.site.emulator.client_secret, "SALT": SALT, **self.secrets}
        reader = SecretReader(environ=environ)
        keys = {**self.site.overrides(), "privacy.profile": profile}
        settings = load_settings(None, environ={}, overrides=keys, reader=reader)
        clock = GraphClock(now=lambda: datetime.now(UTC) + off)
        return await examine(settings, reader=reader, environ={}, examination=examination, clock=clock)


def faults(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.level in (Level.WARNING, Level.ERROR)]


def about(findings: list[Finding], text: str) -> Finding:
    """The one finding whose text holds `text`."""
    found = [finding for finding in findings if text in finding.what]
    assert len(found) == 1, [finding.what for finding in findings]
    return found[0]


@pytest.fixture
async def patient(open_site: OpenSite, tmp_path: Path) -> Patient:
    """A tenant with one application for each connector, all of them right."""
    kinds = {MailboxKind.ACCESS_POLICY: 1, MailboxKind.NO_MAILBOX: 1}
    patient = Patient(await open_site(users=8, profile=TenantProfile(mailboxes=kinds)))
    patient.read_with(
        entra_id=patient.register(*roles_of("entra-id")),
        outlook_mail=patient.register(*roles_of("outlook-mail")),
        outlook_calendar=patient.register(*roles_of("outlook-calendar")),
        msft_teams=patient.register(*roles_of("msft-teams")),
    )
    for folder in (tmp_path / "data", tmp_path / "state"):
        folder.mkdir(mode=0o700)
    return patient


async def test_a_right_site_has_nothing_to_mend(patient: Patient) -> None:
    """Every connector has its token and its roles, both stores are writable: exit 0 and no warning."""
    findings = await patient.examined()
    assert faults(findings) == []
    assert exit_of(findings) is Exit.COMPLETE
    tokens = [finding for finding in findings if finding.what.startswith("token obtained: client-secret, valid until")]
    assert [finding.area for finding in tokens] == ["entra-id", "outlook-mail", "outlook-calendar", "msft-teams"]


async def test_five_faults_are_five_findings_with_their_remedies(open_site: OpenSite, tmp_path: Path) -> None:
    """A missing role, an excess role, a wrong secret, a clock 10 minutes off, an unwritable destination."""
    patient = Patient(await open_site(users=3))
    directory = patient.register(*(role for role in roles_of("entra-id") if role != "User.Read.All"))
    mail = patient.register(*roles_of("outlook-mail"), "Mail.Read")
    calendar = patient.register(*roles_of("outlook-calendar"))
    patient.read_with(entra_id=directory, outlook_mail=mail, outlook_calendar=calendar)
    patient.secrets["SECRET_outlook_calendar"] = "mistyped"
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "file").touch()
    patient.keys["destination"] = f"file://{tmp_path}/file/data"

    findings = await patient.examined(off=OFF)

    assert exit_of(findings) is Exit.REFUSED
    found = {finding.area: finding for finding in faults(findings)}
    assert sorted(found) == ["clock", "destination", "entra-id", "outlook-calendar", "outlook-mail"]
    assert len(faults(findings)) == 5
    assert found["entra-id"].what == "User.Read.All is missing: entra_users cannot be read"
    assert f"adminconsent?client_id={directory.client_id}" in found["entra-id"].remedy
    assert found["outlook-mail"].what == (
        "Mail.ReadBasic.All is what mail_messages needs, Mail.Read is excess: it also opens bodies and attachments"
    )
    assert found["outlook-mail"].remedy.startswith("Remove Mail.Read from the application's permissions")
    assert found["outlook-calendar"].what == "no token: The client secret is wrong (AADSTS7000215)"
    assert "Copy the secret's value" in found["outlook-calendar"].remedy
    assert found["clock"].what == "the clock of this machine is 10m ahead of Microsoft's"
    assert "Set the clock" in found["clock"].remedy
    assert found["destination"].what == "the destination folder: a file stands where a folder is needed"
    assert found["destination"].remedy == "Move it away"
    assert [finding.level for finding in found.values()].count(Level.WARNING) == 1  # the excess role


async def test_a_grant_of_exchange_is_no_missing_role(patient: Patient) -> None:
    """Without a probe a mailbox role that no token shows is a warning; with one it is known to be there."""
    app = patient.register("Contacts.Read")
    app.grant_in_exchange(patient.user)
    patient.read_with(entra_id=patient.site.emulator.app, outlook_mail=app)

    unproven = about(await patient.examined(), "Mail.ReadBasic.All is not in the token")
    assert unproven.level is Level.WARNING
    assert "--probe-allowed" in unproven.remedy

    proven = await patient.examined(Examination(probe_allowed=patient.user))
    assert not any("Mail.ReadBasic.All is not in the token" in finding.what for finding in proven)
    readable = about(proven, "mail_messages of the allowed probe user can be read")
    assert readable.level is Level.OK
    assert "Exchange's RBAC for Applications grants it" in readable.what


async def test_a_role_nobody_grants_is_an_error_once_it_was_tried(patient: Patient) -> None:
    """Neither Entra nor Exchange grants mail: the probe turns the warning into an error."""
    patient.read_with(entra_id=patient.site.emulator.app, outlook_mail=patient.register("Contacts.Read"))
    findings = await patient.examined(Examination(probe_allowed=patient.user))
    refused = about(findings, "mail_messages of the allowed probe user is refused")
    assert refused.level is Level.ERROR
    assert "neither Entra nor Exchange grants Mail.ReadBasic.All" in refused.what
    assert exit_of(findings) is Exit.REFUSED


async def test_a_restriction_that_holds_is_proven_from_both_sides(patient: Patient) -> None:
    """The allowed user's mailbox opens, the denied user's does not."""
    denied = patient.some(MailboxKind.ACCESS_POLICY)
    findings = await patient.examined(Examination(probe_allowed=patient.user, probe_denied=denied))
    assert faults(findings) == []
    assert about(findings, "mail_messages of the denied probe user is refused").level is Level.OK
    assert about(findings, "calendar_events of the denied probe user is refused").level is Level.OK


async def test_a_restriction_that_does_not_hold_is_an_error(patient: Patient) -> None:
    """A mailbox that has to be closed is open: a role granted in Entra reaches every mailbox."""
    findings = await patient.examined(Examination(probe_denied=patient.user))
    open_ = about(findings, "mail_messages of the denied probe user can be read")
    assert open_.level is Level.ERROR
    assert "Mail.ReadBasic.All is granted in Entra and reaches every mailbox" in open_.remedy
    calendar = about(findings, "calendar_events of the denied probe user can be read")
    assert "not documented to restrict Calendars.ReadBasic.All" in calendar.remedy


async def test_a_restriction_that_leaves_the_allowed_user_out_is_an_error(patient: Patient) -> None:
    """The role is granted, the mailbox is refused: the restriction is too narrow."""
    findings = await patient.examined(Examination(probe_allowed=patient.some(MailboxKind.ACCESS_POLICY)))
    refused = about(findings, "mail_messages of the allowed probe user is refused")
    assert refused.level is Level.ERROR
    assert "although Mail.ReadBasic.All is granted" in refused.what
    assert "group of the restriction" in refused.remedy


async def test_a_probe_user_without_a_mailbox_proves_nothing(patient: Patient) -> None:
    """No mailbox is neither readable nor restricted: the operator is asked for another user."""
    findings = await patient.examined(Examination(probe_allowed=patient.some(MailboxKind.NO_MAILBOX)))
    unproven = about(findings, "mail_messages is not proven")
    assert unproven.level is Level.WARNING
    assert "--probe-allowed" in unproven.remedy


async def test_an_unknown_probe_user_is_named_by_its_option_only(patient: Patient) -> None:
    """A mistyped probe user is an error that does not repeat what was typed."""
    findings = await patient.examined(Examination(probe_denied="nobody.known@elsewhere.example"))
    unknown = about(findings, "not in the tenant")
    assert unknown.level is Level.ERROR
    assert "--probe-denied" in unknown.what
    assert "elsewhere.example" not in str(findings)


async def test_another_salt_than_expected_is_a_fault_of_the_settings(patient: Patient) -> None:
    """A proxy's fingerprint is compared: equal is fine, another one is exit 2."""
    same = await patient.examined(Examination(expected_salt=salt_fingerprint(SALT)))
    assert exit_of(same) is Exit.COMPLETE
    assert about(same, "as expected").area == "salt"
    other = await patient.examined(Examination(expected_salt=salt_fingerprint("another salt altogether")))
    assert exit_of(other) is Exit.USAGE
    assert about(other, "the salt is another one").level is Level.ERROR


async def test_a_faulty_rules_file_is_linted_with_its_lines(patient: Patient, tmp_path: Path) -> None:
    """Each fault of an operator's rules file is a finding, and the settings are to blame: exit 2."""
    path = tmp_path / "mail-rules.yaml"
    path.write_text("endpoints:\n  - pathTemplate: /v1.0/users\n    transforms:\n      - method: pseudonimize\n")
    patient.keys["privacy.rules.outlook-mail"] = str(path)
    findings = await patient.examined()
    lint = [finding for finding in findings if finding.area == "rules" and finding.level is Level.ERROR]
    assert lint
    assert all("mail-rules.yaml" in finding.what for finding in lint)
    assert exit_of(findings) is Exit.USAGE


async def test_a_wrong_tenant_and_a_token_service_that_is_not_there_are_told_apart(patient: Patient) -> None:
    """An unknown tenant is named by Entra's code; an address where nobody listens is unreachable."""
    patient.keys["tenant.id"] = "11111111-2222-3333-4444-555555555555"
    unknown = about(await patient.examined(), "AADSTS90002")
    assert unknown.level is Level.ERROR
    assert unknown.area == "cloud"

    patient.keys["tenant.graph"] = "https://127.0.0.1:9"
    unreachable = about(await patient.examined(), "Microsoft Graph cannot be reached")
    assert unreachable.level is Level.ERROR


async def test_an_untrusted_certificate_leads_to_the_ca_file(patient: Patient) -> None:
    """Without the authority's certificate the finding names the key that mends it."""
    patient.keys["tenant.ca_file"] = None
    untrusted = about(await patient.examined(), "Microsoft Graph cannot be reached")
    assert "tenant.ca_file" in untrusted.remedy


async def test_findings_show_no_secret_token_or_person(patient: Patient) -> None:
    """What is printed holds no secret, no token, and no id or name of a user of the tenant."""
    findings = await patient.examined(
        Examination(probe_allowed=patient.user, probe_denied=patient.some(MailboxKind.ACCESS_POLICY))
    )
    text = json.dumps([asdict(finding) for finding in findings])
    tenant = patient.site.tenant
    personal = [planted for planted in tenant.planted() if len(planted) > 5]
    assert personal
    for hidden in (*patient.secrets.values(), *tenant.user_ids, *personal, SALT):
        assert hidden not in text
    assert not re.search(r"eyJ[A-Za-z0-9_-]{10,}", text)


async def test_profiles_that_read_bodies_need_the_wider_calendar_role(patient: Patient) -> None:
    """Profile psoxy looks for meeting links in bodies: there Calendars.Read is needed, not excess."""
    patient.read_with(
        entra_id=patient.register(*roles_of("entra-id")),
        outlook_calendar=patient.register("Calendars.Read"),
    )
    assert faults(await patient.examined(profile="psoxy")) == []
    excess = about(await patient.examined(profile="strict"), "Calendars.Read is excess")
    assert "Grant Calendars.ReadBasic.All first" in excess.remedy


async def test_a_directory_role_of_one_application_is_enough(patient: Patient) -> None:
    """The directory is read with the first application that may: one of them may is enough, none is an error."""
    patient.read_with(
        outlook_mail=patient.register(*roles_of("outlook-mail")),
        outlook_calendar=patient.register(*roles_of("outlook-calendar", "entra-id")),
    )
    assert faults(await patient.examined()) == []
    patient.read_with(outlook_mail=patient.register(*roles_of("outlook-mail")))
    missing = [finding for finding in await patient.examined() if finding.level is Level.ERROR]
    assert {finding.area for finding in missing} == {"entra-id"}


async def test_a_token_without_any_role_is_said_to_have_none(patient: Patient) -> None:
    """An application without consent gets a token all the same: every dataset lacks its role."""
    patient.read_with(entra_id=patient.register())
    findings = await patient.examined()
    assert about(findings, "the token has no roles at all").level is Level.NOTE
    assert about(findings, "User.Read.All is missing").level is Level.ERROR


async def test_each_missing_role_of_a_dataset_that_needs_several_is_reported(patient: Patient) -> None:
    """Messages of channels cannot be read without the lists of teams and channels: one finding for each role."""
    patient.read_with(
        entra_id=patient.register(*roles_of("entra-id")),
        msft_teams=patient.register(
            *(role for role in roles_of("msft-teams") if role not in ("Team.ReadBasic.All", "Channel.ReadBasic.All"))
        ),
    )
    findings = await patient.examined()
    teams = about(findings, "Team.ReadBasic.All is missing")
    assert teams.level is Level.ERROR
    assert teams.what.endswith("teams_teams, teams_channels, teams_channel_messages cannot be read")
    channels = about(findings, "Channel.ReadBasic.All is missing")
    assert channels.what.endswith("teams_channels, teams_channel_messages cannot be read")
    assert len(faults(findings)) == 2


async def test_each_role_that_opens_more_than_a_dataset_needs_is_reported(patient: Patient) -> None:
    """Two wider roles instead of two narrow ones are two excess ones, each with what to grant first."""
    wider = {"Team.ReadBasic.All": "TeamSettings.Read.All", "Channel.ReadBasic.All": "ChannelSettings.Read.All"}
    patient.read_with(
        entra_id=patient.register(*roles_of("entra-id")),
        msft_teams=patient.register(*(wider.get(role, role) for role in roles_of("msft-teams"))),
    )
    findings = faults(await patient.examined())
    assert len(findings) == 2
    for narrow, wide in wider.items():
        assert f"Grant {narrow} first; then remove {wide}" in about(findings, f"{wide} is excess").remedy


async def test_address_books_need_a_role_of_their_own_which_may_be_left_out(patient: Patient) -> None:
    """Contacts.Read is what mail_contacts needs beside the role of mail; without it one warning says so."""
    patient.read_with(
        entra_id=patient.register(*roles_of("entra-id")), outlook_mail=patient.register("Mail.ReadBasic.All")
    )
    (missing,) = faults(await patient.examined())
    assert missing.level is Level.WARNING
    assert missing.what.startswith("Contacts.Read is not in the token: mail_contacts can be read only where Exchange")
    assert "(optional: " in missing.what


async def test_the_emulators_own_application_has_just_the_roles_that_are_needed(patient: Patient) -> None:
    """An operator who rehearses with the settings that the emulator prints finds nothing to mend."""
    rehearsing = patient.register(*ALL_ROLES)
    patient.keys["connectors"] = {name: {} for name in CONNECTOR_NAMES}
    patient.keys.update({"auth.client_id": rehearsing.client_id, "auth.client_secret": "env:REHEARSING"})
    patient.secrets = {"REHEARSING": rehearsing.client_secret}
    assert faults(await patient.examined()) == []


async def test_a_meeting_policy_is_tried_on_the_allowed_user(patient: Patient) -> None:
    """Inside the Teams application access policy the probe is fine, outside it is an error with the remedy."""
    app = patient.register(*roles_of("entra-id", "msft-teams"))
    patient.read_with(msft_teams=app)
    inside, outside = patient.site.tenant.users_of(MailboxKind.NORMAL)[:2]
    app.cover_meetings_of(inside)

    covered = about(await patient.examined(Examination(probe_allowed=inside)), "access policy")
    assert covered.level is Level.OK
    refused = about(await patient.examined(Examination(probe_allowed=outside)), "access policy")
    assert refused.level is Level.ERROR
    assert refused.area == "msft-teams"
    assert "Grant-CsApplicationAccessPolicy" in refused.remedy
    nobody = Examination(probe_allowed=patient.some(MailboxKind.NO_MAILBOX))
    assert about(await patient.examined(nobody), "access policy").level is Level.ERROR
