"""Set-up instructions are made from the settings, complete in every format, and take nothing for code."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.load import load_settings
from config.setup import FORMATS, make_plan
from config.setup.plan import SetupPlan
from tests.az_stub import NEW_APPLICATION, option, run_script

# What the scripts ask their environment for, in whichever case.
ENVIRON = {
    name: f"https://example.com/{name.lower()}"
    for name in (
        "KUBERNETES_ISSUER",
        "KUBERNETES_SUBJECT",
        "AWS_STS_ISSUER",
        "AWS_STS_SUBJECT",
        "GCP_SUBJECT",
        "CERTIFICATE_FILE",
        "M365_EXPORT_IDENTITY",
    )
}
GOLDEN = Path(__file__).parents[1] / "golden" / "setup"
TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT = "22222222-3333-4444-5555-666666666666"
MAIL_CLIENT = "33333333-4444-5555-6666-777777777777"
ALL: dict[str, Any] = {"entra-id": {}, "outlook-mail": {}, "outlook-calendar": {}, "msft-teams": {}}

# Each host, and together every method, cloud and connector.
CASES: dict[str, dict[str, Any]] = {
    "kubernetes-own-mail-application": {
        "auth": {"client_id": CLIENT, "assertion": {"kind": "file", "path": "/token"}},
        "connectors": {**ALL, "outlook-mail": {"auth": {"client_id": MAIL_CLIENT}}},
    },
    "aws-cognito": {
        "auth": {
            "client_id": CLIENT,
            "assertion": {
                "kind": "aws-cognito",
                "identity_pool_id": "eu-west-1:aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
                "identity_id": "eu-west-1:ffffffff-0000-1111-2222-333333333333",
                "developer_provider": "m365-export",
            },
        },
        "connectors": {"outlook-mail": {}},
        "scope": {"include_groups": ["44444444-5555-6666-7777-888888888888"]},
    },
    "aws-sts-gov": {
        "tenant": {"id": TENANT, "cloud": "us-gov-l4"},
        "auth": {"client_id": CLIENT, "assertion": {"kind": "aws-sts"}},
        "connectors": {"outlook-calendar": {}},
        "privacy": {"salt": "env:SALT", "profile": "psoxy", "groups": False},
    },
    "gcp": {
        "auth": {"client_id": CLIENT, "assertion": {"kind": "gcp"}},
        "connectors": {"entra-id": {}},
    },
    "azure-managed-identity": {
        "auth": {"method": "managed-identity"},
        "connectors": {"entra-id": {}, "msft-teams": {}},
    },
    "certificate-and-secret": {
        "auth": {"method": "certificate", "client_id": CLIENT, "certificate": "file:cert.pem"},
        "connectors": {
            "entra-id": {},
            "outlook-mail": {
                "auth": {"method": "client-secret", "client_id": MAIL_CLIENT, "client_secret": "env:MAIL_SECRET"}
            },
        },
    },
}


def plan_of(values: dict[str, Any], folder: Path) -> SetupPlan:
    path = folder / "m365-export.yaml"
    minimal = {
        "tenant": {"id": TENANT},
        "privacy": {"salt": "env:SALT"},
        "destination": "s3://bucket/export",
        "state": "s3://private/state",
    }
    path.write_text(yaml.safe_dump({**minimal, **values}, sort_keys=False))
    return make_plan(load_settings(path, environ={}))


def golden_files() -> Iterator[tuple[str, str]]:
    for case in CASES:
        for form in FORMATS:
            yield case, form


@pytest.mark.parametrize(("case", "form"), list(golden_files()))
def test_each_format_is_as_reviewed(case: str, form: str, tmp_path: Path) -> None:
    """The text is the one that was reviewed; M365_EXPORT_NEW_GOLDEN=1 writes it anew, for review."""
    text = FORMATS[form](plan_of(CASES[case], tmp_path))
    file = GOLDEN / f"{case}.{form}.txt"
    if os.environ.get("M365_EXPORT_NEW_GOLDEN"):
        file.write_text(text, encoding="utf-8")
    assert file.read_text(encoding="utf-8") == text


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_says_what_an_exchange_restriction_does_not_limit(form: str, tmp_path: Path) -> None:
    """Teams and directory data stay open, and `scope` limits them: said where mailboxes are read."""
    text = FORMATS[form](plan_of(CASES["aws-cognito"], tmp_path))
    said = re.sub(r"[\s#*]+", " ", text)
    assert "An Exchange restriction limits mailboxes only" in said
    assert "does not limit Teams" in said
    assert "does not limit directory data" in said
    assert "limited by `scope` in the settings" in said
    assert "These settings have a scope." in said


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_names_the_admin_roles(form: str, tmp_path: Path) -> None:
    """Who has to do what is said in each."""
    text = FORMATS[form](plan_of(CASES["kubernetes-own-mail-application"], tmp_path))
    for role in (
        "Cloud Application Administrator",
        "Privileged Role Administrator",
        "Exchange Administrator",
        "Teams Administrator",
    ):
        assert role in text


def test_directory_roles_go_to_the_application_that_reads_the_directory(tmp_path: Path) -> None:
    """The first configured connector's application reads the directory; the others do not get its roles."""
    plan = plan_of(CASES["kubernetes-own-mail-application"], tmp_path)
    shared, mail = plan.applications
    assert [application.name for application in plan.applications] == ["m365-export", "m365-export outlook-mail"]
    assert "User.Read.All" in {grant.role.name for grant in shared.grants}
    assert {grant.role.name for grant in mail.grants} == {"Mail.ReadBasic.All", "Contacts.Read"}
    alone = plan_of(CASES["aws-cognito"], tmp_path).applications[0]
    assert {"User.Read.All", "MailboxSettings.Read"} <= {grant.role.name for grant in alone.grants}


def test_without_groups_and_with_bodies_the_roles_follow(tmp_path: Path) -> None:
    """`groups: false` asks for no group role; a profile that reads bodies asks for Calendars.Read."""
    names = {grant.role.name for grant in plan_of(CASES["aws-sts-gov"], tmp_path).applications[0].grants}
    assert names == {"User.Read.All", "MailboxSettings.Read", "Calendars.Read"}


def test_consent_links_lead_to_the_tenants_cloud(tmp_path: Path) -> None:
    """The link is the one of the national cloud's token host."""
    plan = plan_of(CASES["aws-sts-gov"], tmp_path)
    link = f"https://login.microsoftonline.us/{TENANT}/adminconsent?client_id={CLIENT}"
    assert plan.consent_link(plan.applications[0]) == link


def test_values_of_the_settings_never_become_code(tmp_path: Path) -> None:
    """Quotes, variables and templates in a value stay text in every format."""
    evil = 'x\'; "$(touch owned)" `touch owned` ${path.cwd} \u2019; Remove-Item'
    case = {
        "auth": {"client_id": evil, "assertion": {"kind": "gcp", "audience": evil}},
        "connectors": {"entra-id": {}},
    }
    plan = plan_of(case, tmp_path)
    script = FORMATS["azure-cli"](plan)
    quoted = [line for line in script.splitlines() if line.startswith(("client_id=", "trust "))]
    echo = "registration() { printf '%s\\n' \"$2\"; }\ntrust() { printf '%s\\n' \"$5\"; }\nclient_id=; GCP_SUBJECT=1\n"
    ran = subprocess.run(
        ["bash", "-c", echo + "\n".join(quoted) + '\nprintf "%s" "$client_id"'],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert ran.stdout == json.dumps(evil)[1:-1] + "\n" + evil
    assert not (tmp_path / "owned").exists()
    assert "ClientId = 'x''; \"$(touch owned)\" `touch owned` ${path.cwd} \u2019\u2019; Remove-Item'" in (
        FORMATS["powershell"](plan)
    )
    assert "$${path.cwd}" in FORMATS["terraform"](plan)


def role_ids(plan: SetupPlan, index: int) -> set[str]:
    return {grant.role.id for grant in plan.applications[index].grants}


def asked_for(calls: list[list[str]]) -> list[set[str]]:
    """The role ids of each `az ad app update`."""
    updates = [call for call in calls if call[:3] == ["ad", "app", "update"]]
    wanted = [json.loads(option(call, "--required-resource-accesses")) for call in updates]
    return [{access["id"] for resource in each for access in resource["resourceAccess"]} for each in wanted]


def test_the_shell_script_makes_registrations_with_exactly_their_roles(tmp_path: Path) -> None:
    """New registrations: made, given their roles and the federated credential, closed to sign-ins."""
    plan = plan_of(CASES["kubernetes-own-mail-application"], tmp_path)
    calls, said = run_script(FORMATS["azure-cli"](plan), tmp_path / "run", tenant=TENANT, exists=False, environ=ENVIRON)
    created = [option(call, "--display-name") for call in calls if call[:3] == ["ad", "app", "create"]]
    assert created == ["m365-export", "m365-export outlook-mail"]
    assert asked_for(calls) == [role_ids(plan, 0), role_ids(plan, 1)]
    trusted = [call for call in calls if call[:4] == ["ad", "app", "federated-credential", "create"]]
    assert [json.loads(option(call, "--parameters")) for call in trusted] == [
        {
            "name": "m365-export-kubernetes",
            "issuer": ENVIRON["KUBERNETES_ISSUER"],
            "subject": ENVIRON["KUBERNETES_SUBJECT"],
            "audiences": ["api://AzureADTokenExchange"],
        }
    ] * 2
    closed = [call for call in calls if "appRoleAssignmentRequired=true" in call]
    assert len(closed) == 2
    assert f"auth.client_id of outlook-mail: {NEW_APPLICATION}" in said
    assert f"https://login.microsoftonline.com/{TENANT}/adminconsent?client_id={NEW_APPLICATION}" in said


def test_the_shell_script_takes_over_a_registration_that_was_handed_over(tmp_path: Path) -> None:
    """Registrations of the client ids in the settings exist: they are completed, and none is made."""
    plan = plan_of(CASES["kubernetes-own-mail-application"], tmp_path)
    calls, _ = run_script(FORMATS["azure-cli"](plan), tmp_path / "run", tenant=TENANT, exists=True, environ=ENVIRON)
    assert not [call for call in calls if "create" in call]
    updates = [option(call, "--id") for call in calls if call[:3] == ["ad", "app", "update"]]
    assert updates == [CLIENT, MAIL_CLIENT]


def test_the_shell_script_leaves_to_exchange_what_exchange_grants(tmp_path: Path) -> None:
    """With RBAC for Applications no mailbox role is asked for in Entra, where it would reach every mailbox."""
    plan = plan_of(CASES["kubernetes-own-mail-application"], tmp_path)
    environ = {**ENVIRON, "MAILBOXES_IN_ENTRA": "no"}
    calls, _ = run_script(FORMATS["azure-cli"](plan), tmp_path / "run", tenant=TENANT, exists=False, environ=environ)
    mailboxes = {
        grant.role.id for grant in (*plan.applications[0].mailbox_grants, *plan.applications[1].mailbox_grants)
    }
    assert asked_for(calls) == [role_ids(plan, 0) - mailboxes, set()]


def test_the_shell_script_refuses_to_work_without_what_only_the_administrator_knows(tmp_path: Path) -> None:
    """A value that is missing in the environment stops the script before it changes anything."""
    plan = plan_of(CASES["aws-sts-gov"], tmp_path)
    with pytest.raises(subprocess.CalledProcessError) as stopped:
        run_script(FORMATS["azure-cli"](plan), tmp_path / "run", tenant=TENANT, exists=False, environ={})
    assert stopped.value.returncode == 2
    assert "Set AWS_STS_ISSUER in the environment: the account's own issuer" in stopped.value.stderr
    assert (tmp_path / "run" / "calls").read_text() == ""


def test_a_client_secret_is_kept_without_a_newline(tmp_path: Path) -> None:
    """The new secret goes to a file of its owner's, byte for byte: a newline would become part of it."""
    plan = plan_of(CASES["certificate-and-secret"], tmp_path)
    run_script(FORMATS["azure-cli"](plan), tmp_path / "run", tenant=TENANT, exists=False, environ=ENVIRON)
    file = tmp_path / "run" / "outlook_mail.secret"
    assert file.read_bytes() == b"a-secret"
    assert file.stat().st_mode & 0o077 == 0
