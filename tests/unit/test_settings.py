"""The settings file is read to the letter of its contract, and everything wrong with it is said at once."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.auth import CognitoAssertion, FileAssertion, StsAssertion
from config.clouds import CLOUDS
from config.faults import Fault, SettingsError
from config.identity import run_scope_fingerprint
from config.keys import ROOT, keys_of
from config.load import load_privacy_only, load_rule_options, load_settings
from config.locations import parse_location
from config.model import Settings
from config.secrets import Secret, SecretReader, SecretReference

TENANT = "11111111-2222-3333-4444-555555555555"
SALT = "a salt of enough characters"
LITERAL = "hunter2-hunter2"
EXAMPLE = Path(__file__).parents[2] / "config" / "examples" / "m365-export.yaml"
MINIMAL: dict[str, Any] = {
    "tenant": {"id": TENANT},
    "auth": {"client_id": "app", "assertion": {"kind": "file", "path": "/token"}},
    "connectors": {"entra-id": {}},
    "privacy": {"salt": "env:SALT"},
    "destination": "s3://bucket/export",
    "state": "s3://private/state",
}


def load(
    values: Mapping[str, Any],
    folder: Path,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
    reader: SecretReader | None = None,
) -> Settings:
    """The settings of a file with these values in `folder`."""
    return load_settings(written(values, folder), environ=environ or {}, overrides=overrides or {}, reader=reader)


def written(values: Mapping[str, Any], folder: Path) -> Path:
    """A settings file with these values."""
    path = folder / "m365-export.yaml"
    path.write_text(yaml.safe_dump(dict(values), sort_keys=False))
    return path


def faults_of(values: Mapping[str, Any], folder: Path, **options: Any) -> dict[str, str]:
    """What loading complains about, by key path."""
    with pytest.raises(SettingsError) as error:
        load(values, folder, **options)
    assert str(error.value).splitlines() == [f"{fault.path}: {fault.message}" for fault in error.value.faults]
    return dict(error.value.faults)


def changed(**sections: Any) -> dict[str, Any]:
    """The smallest valid settings with these sections replaced."""
    return MINIMAL | sections


def test_every_default_is_the_contracts(tmp_path: Path) -> None:
    """What is left out has the value the documentation shows."""
    settings = load(MINIMAL, tmp_path)
    assert settings.tenant.cloud == "global"
    assert settings.tenant.ca_file is None
    assert settings.effective_auth("entra-id").method == "federated"
    assert settings.initial_lookback == timedelta(days=30)
    windows = settings.windows
    assert (windows.settle.teams, windows.settle.calls) == (timedelta(hours=24), timedelta(hours=24))
    assert (windows.overlap.calls, windows.overlap.calendar) == (timedelta(days=5), timedelta(days=7))
    assert windows.calendar_ahead == timedelta(0)
    assert settings.scope.model_dump() == {
        "include_groups": (),
        "exclude_groups": (),
        "exclude_users": (),
        "include_guests": False,
        "include_shared": True,
        "suppress": False,
    }
    assert settings.privacy.model_dump(exclude={"salt", "rules"}) == {
        "encryption_key": None,
        "profile": "strict",
        "groups": True,
        "group_original": True,
        "email_canonicalization": "strict",
        "email_domains": "preserve",
        "allow_weak_salt": False,
    }
    assert settings.privacy.rules.paths == {}
    assert settings.storage.model_dump() == {
        "endpoint_url": None,
        "region": None,
        "kms_key": None,
        "sse_s3": False,
        "proxy": None,
        "requester_pays": False,
        "single_writer": False,
    }
    assert settings.output.part_size_bytes == 128 * 1024 * 1024
    assert (settings.output.part_max_age, settings.output.layout) == (timedelta(minutes=5), "nested")
    assert settings.limits.model_dump() == {
        "memory_mib": 300,
        "mailboxes_in_flight": 32,
        "per_mailbox_in_flight": 4,
        "backfill_share": 0.5,
    }
    assert settings.telemetry.model_dump() == {
        "prometheus_port": None,
        "textfile": None,
        "otlp_endpoint": None,
    }


def test_connector_defaults(tmp_path: Path) -> None:
    """A connector that is only named reads all mail folders, and direct members of groups."""
    connectors = load(changed(connectors={"outlook-mail": None, "msft-teams": {}}), tmp_path).connectors
    assert connectors.outlook_mail is not None
    assert connectors.outlook_mail.folders == "all"
    assert connectors.msft_teams is not None
    assert connectors.entra_id is None
    assert connectors.names == ("outlook-mail", "msft-teams")
    directory = load(changed(connectors={"entra-id": None}), tmp_path).connectors.entra_id
    assert directory is not None
    assert directory.members == "direct"


def test_connectors_keep_the_order_of_the_file(tmp_path: Path) -> None:
    """The first one named comes first: its application is the first that is tried for the directory."""
    assert load(changed(connectors={"msft-teams": {}, "entra-id": {}}), tmp_path).connectors.names == (
        "msft-teams",
        "entra-id",
    )


def test_the_example_file_loads_and_shows_every_key() -> None:
    """The file we hand out is valid, and no key of the settings is missing from it."""
    settings = load_settings(EXAMPLE, environ={})
    assert settings.connectors.names == ("entra-id", "outlook-mail", "outlook-calendar", "msft-teams")
    values = yaml.safe_load(EXAMPLE.read_text())
    for section, models in keys_of(ROOT).items():
        assert section in values
        if section not in {"connectors", "auth"} and models:
            assert set(values[section]) == set(keys_of(models))
    assert set(values["auth"]) == set(keys_of(keys_of(ROOT)["auth"]))


def test_the_example_file_shows_the_defaults(tmp_path: Path) -> None:
    """Where the example sets what could be left out, it sets the default."""
    example, minimal = load_settings(EXAMPLE, environ={}), load(MINIMAL, tmp_path)
    for section in ("initial_lookback", "windows", "scope", "storage", "output", "limits", "telemetry"):
        assert getattr(example, section) == getattr(minimal, section), section
    assert example.privacy.model_dump(exclude={"salt"}) == minimal.privacy.model_dump(exclude={"salt"})


def test_five_faults_are_five_lines(tmp_path: Path) -> None:
    """Everything is said at once, a line each with the key's path, across kinds of faults."""
    faults = faults_of(
        {
            "tenant": {"id": "not-a-guid"},
            "auth": {"method": "certificate", "client_id": "app"},
            "connectors": {"entra-id": {}},
            "privacy": {"salt": LITERAL, "profil": "strict"},
            "destination": "s3://bucket/export",
            "state": "s3://bucket/export/state",
        },
        tmp_path,
    )
    assert faults.keys() == {"tenant.id", "auth.certificate", "privacy.salt", "privacy.profil", "state"}
    assert faults["privacy.profil"] == "unknown key; did you mean profile?"
    assert faults["auth.certificate"] == "required by method certificate"


@pytest.mark.parametrize(
    ("section", "value", "path", "message"),
    [
        ("tenant", {"id": TENANT, "clowd": "global"}, "tenant.clowd", "did you mean cloud?"),
        ("tennant", {}, "tennant", "did you mean tenant?"),
        ("connectors", {"outlok-mail": {}}, "connectors.outlok-mail", "did you mean outlook-mail?"),
        ("connectors", {"entra_id": {}}, "connectors.entra_id", "did you mean entra-id?"),
        ("connectors", {"zoom": {}}, "connectors.zoom", "did you mean outlook-"),
        ("connectors", {}, "connectors", "name at least one"),
        ("connectors", {"msft-teams": {"folders": "all"}}, "connectors.msft-teams.folders", "unknown key"),
        (
            "connectors",
            {"entra-id": {"members": "all"}},
            "connectors.entra-id.members",
            "expected direct or transitive",
        ),
        (
            "connectors",
            {"outlook-mail": {"folders": []}},
            "connectors.outlook-mail.folders",
            "all, or a list",
        ),
        ("auth", {"assertion": {"kind": "file", "pth": "x"}}, "auth.assertion.pth", "did you mean path?"),
        ("auth", {"assertion": {"kind": "file", "file": "x"}}, "auth.assertion.file", "unknown key"),
        ("auth", {"assertion": {"kind": "fil"}}, "auth.assertion.kind", "expected one of file, aws-cognito"),
        ("auth", {"assertion": {"path": "x"}}, "auth.assertion.kind", "required"),
        ("auth", {"method": "client-secret", "client_id": "a"}, "auth.client_secret", "required by method"),
        ("auth", {"client_id": "a"}, "auth.assertion", "required by method federated"),
        ("auth", {}, "auth.client_id", "required by method federated"),
        ("tenant", {"id": TENANT, "graph": "http://graph.example"}, "tenant.graph", "loopback only"),
        ("tenant", {"id": TENANT, "graph": "https://g.example/v1.0"}, "tenant.graph", "without a path"),
        ("tenant", {"id": TENANT, "authority": "https://u:p@l.example"}, "tenant.authority", "no user"),
        ("tenant", {"id": TENANT, "authority": "login.example"}, "tenant.authority", "a URL such as"),
        ("tenant", None, "tenant.id", "required"),
        (
            "privacy",
            {"salt": "env:S", "rules": {"mail": "x"}},
            "privacy.rules.mail",
            "did you mean outlook-mail?",
        ),
        ("privacy", {"salt": "env:S", "email_domains": "encrypt"}, "privacy.encryption_key", "required when"),
        ("privacy", {"salt": "env:S", "groups": "maybe"}, "privacy.groups", "valid boolean"),
        ("privacy", {}, "privacy.salt", "required"),
        ("destination", "/srv/export", "destination", "file:///absolute/path"),
        ("destination", "file://srv/export", "destination", "three slashes"),
        ("state", "s3://bucket/export", "state", "must not be the destination"),
        ("state", "s3://bucket/export/x", "state", "must not be the destination"),
        ("initial_lookback", 30, "initial_lookback", "a duration is written"),
        ("windows", {"settle": {"cals": "1h"}}, "windows.settle.cals", "did you mean calls?"),
        ("scope", {"exclude_users": "x"}, "scope.exclude_users", "a list is expected"),
        ("scope", {"exclude_users": ["x@example.org", 5]}, "scope.exclude_users[1]", "an object id"),
        ("scope", {"exclude_groups": ["Sales team"]}, "scope.exclude_groups[0]", "an object id"),
        ("scope", {"include_groups": ["a b@example.org"]}, "scope.include_groups[0]", "an object id"),
        ("storage", {"proxy": "http://user:pass@proxy"}, "storage.proxy", "no user or password"),
        ("output", {"part_size": "128"}, "output.part_size", "a size is a whole number and a unit"),
        ("output", {"part_size": "0MiB"}, "output.part_size", "greater than 0"),
        ("output", {"part_size_bytes": 5}, "output.part_size_bytes", "did you mean part_size?"),
        ("limits", {"per_mailbox_in_flight": 5}, "limits.per_mailbox_in_flight", "less than or equal to 4"),
        ("limits", {"backfill_share": 0}, "limits.backfill_share", "greater than 0"),
        ("limits", {"memory_mib": True}, "limits.memory_mib", "valid integer"),
        ("telemetry", 5, "telemetry", "a mapping of keys is expected"),
        ("storage", {"sse_s3": True, "kms_key": "alias/export"}, "storage.sse_s3", "one key"),
        ("telemetry", {"prometheus_port": 70_000}, "telemetry.prometheus_port", "65535"),
    ],
)
def test_each_fault_has_its_path_and_reason(section: str, value: Any, path: str, message: str, tmp_path: Path) -> None:
    """A single mistake is found at its key; a misspelt key names the nearest known one."""
    assert message in faults_of(changed(**{section: value}), tmp_path)[path]


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("privacy", {"salt": LITERAL}),
        ("privacy", {"salt": {LITERAL: 1}}),
        ("privacy", {"salt": f"env:{LITERAL}"}),
        ("privacy", {"salt": "env:S", "encryption_key": LITERAL}),
        ("privacy", {"salt": "env:S", "profile": LITERAL}),
        ("privacy", LITERAL),
        ("auth", {"client_secret": LITERAL}),
        ("auth", {"method": LITERAL}),
        ("auth", {"assertion": {"kind": LITERAL}}),
        ("auth", {"assertion": LITERAL}),
        ("tenant", {"id": LITERAL}),
        ("tenant", {"id": TENANT, "graph": f"https://{LITERAL}@graph.example"}),
        ("storage", {"proxy": f"http://user:{LITERAL}@proxy"}),
        ("destination", f"s3://key:{LITERAL}@bucket"),
        ("limits", {"memory_mib": LITERAL}),
    ],
)
def test_no_complaint_repeats_a_value(section: str, value: Any, tmp_path: Path) -> None:
    """A value in the wrong place may be a secret, so none is printed, nor kept as a cause."""
    with pytest.raises(SettingsError) as error:
        load(changed(**{section: value}), tmp_path)
    assert LITERAL not in str(error.value)
    assert LITERAL not in repr(error.value.faults)
    assert error.value.__context__ is None


def test_environment_wins_over_file_and_flags_over_both(tmp_path: Path) -> None:
    """The nearer source wins; a flag that was not given changes nothing."""
    values = changed(output={"layout": "flat"}, limits={"memory_mib": 100}, initial_lookback="10d")
    settings = load(
        values,
        tmp_path,
        environ={"M365_EXPORT__LIMITS__MEMORY_MIB": "200", "M365_EXPORT__INITIAL_LOOKBACK": "20d"},
        overrides={"initial_lookback": "25d", "limits.memory_mib": None},
    )
    assert settings.output.layout == "flat"
    assert settings.limits.memory_mib == 200
    assert settings.initial_lookback == timedelta(days=25)


def test_any_key_can_come_from_the_environment(tmp_path: Path) -> None:
    """Hyphens are underscores, values are YAML, missing sections come into being, an empty value unsets."""
    settings = load(
        changed(storage={"region": "eu-west-1"}),
        tmp_path,
        environ={
            "M365_EXPORT__TENANT__ID": TENANT.replace("1", "9"),
            "M365_EXPORT__CONNECTORS__OUTLOOK_MAIL__FOLDERS": "[Inbox, SentItems]",
            "M365_EXPORT__CONNECTORS__OUTLOOK_MAIL__AUTH__CLIENT_ID": "mail-app",
            "M365_EXPORT__CONNECTORS__OUTLOOK_CALENDAR": "",
            "M365_EXPORT__AUTH__ASSERTION__PATH": "token",
            "M365_EXPORT__WINDOWS__SETTLE__TEAMS": "PT12H",
            "M365_EXPORT__PRIVACY__GROUPS": "false",
            "M365_EXPORT__PRIVACY__RULES__MSFT_TEAMS": "teams.yaml",
            "M365_EXPORT__STORAGE__REGION": "",
            "M365_EXPORT_CONFIG": "not a key: one underscore",
        },
    )
    assert settings.tenant.id == TENANT.replace("1", "9")
    assert settings.connectors.outlook_mail is not None
    assert settings.connectors.outlook_mail.folders == ("Inbox", "SentItems")
    assert settings.effective_auth("outlook-mail").client_id == "mail-app"
    assert settings.effective_auth("entra-id").client_id == "app"
    assert settings.effective_auth("entra-id").assertion == FileAssertion(kind="file", path=tmp_path / "token")
    assert settings.connectors.outlook_calendar is not None
    assert settings.windows.settle.teams == timedelta(hours=12)
    assert settings.privacy.groups is False
    assert settings.privacy.rules.paths == {"msft-teams": tmp_path / "teams.yaml"}
    assert settings.storage.region is None


def test_a_variable_for_a_section_replaces_it_and_one_for_a_key_refines_it(tmp_path: Path) -> None:
    """The order of variables does not matter: the whole section comes first."""
    settings = load(
        changed(limits={"memory_mib": 100}),
        tmp_path,
        environ={
            "M365_EXPORT__LIMITS__BACKFILL_SHARE": "0.25",
            "M365_EXPORT__LIMITS": "{mailboxes_in_flight: 8}",
        },
    )
    assert settings.limits.model_dump(include={"memory_mib", "mailboxes_in_flight", "backfill_share"}) == {
        "memory_mib": 300,
        "mailboxes_in_flight": 8,
        "backfill_share": 0.25,
    }


def test_settings_can_come_from_the_environment_alone() -> None:
    """Without a file the environment is enough."""
    settings = load_settings(
        None, environ={f"M365_EXPORT__{key.upper()}": yaml.safe_dump(value) for key, value in MINIMAL.items()}
    )
    assert settings.destination == parse_location("s3://bucket/export")


def test_faults_of_the_environment_name_the_variable(tmp_path: Path) -> None:
    """An unknown variable and one that is no YAML are faults like any other, without the value."""
    faults = faults_of(
        MINIMAL,
        tmp_path,
        environ={"M365_EXPORT__TENNANT__ID": "x", "M365_EXPORT__AUTH__CLIENT_SECRET": f"[{LITERAL}"},
    )
    assert faults["tennant"] == "unknown key; did you mean tenant? (from M365_EXPORT__TENNANT__ID)"
    assert "(from M365_EXPORT__AUTH__CLIENT_SECRET)" in faults["auth.client_secret"]
    assert LITERAL not in str(faults)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("tenant: {id: 1\n", "line 2, column 1"),
        ("tenant: {}\ntenant: {}\n", "line 2, column 1: the key tenant is given twice"),
        ("- tenant\n", "a mapping of keys is expected"),
    ],
)
def test_a_file_that_is_no_settings_file(content: str, message: str, tmp_path: Path) -> None:
    """The fault names the file and, for YAML, line and column."""
    path = tmp_path / "m365-export.yaml"
    path.write_text(content)
    with pytest.raises(SettingsError) as error:
        load_settings(path, environ={})
    assert error.value.faults[0].path == str(path)
    assert message in error.value.faults[0].message


def test_a_missing_file_is_a_fault(tmp_path: Path) -> None:
    """A file that was asked for must be there."""
    with pytest.raises(SettingsError, match=r"nowhere\.yaml: cannot be read: No such file"):
        load_settings(tmp_path / "nowhere.yaml", environ={})


def test_a_connectors_own_auth_wins_key_by_key(tmp_path: Path) -> None:
    """What a connector does not say it takes from the common part; each is checked on its own."""
    values = changed(
        connectors={
            "entra-id": {},
            "outlook-mail": {"auth": {"client_id": "mail-app"}},
            "msft-teams": {"auth": {"method": "client-secret", "client_secret": "env:TEAMS"}},
        }
    )
    settings = load(values, tmp_path)
    mail, teams = settings.effective_auth("outlook-mail"), settings.effective_auth("msft-teams")
    assert (mail.client_id, mail.assertion) == ("mail-app", FileAssertion(kind="file", path=Path("/token")))
    assert (teams.client_id, teams.client_secret) == ("app", SecretReference("env", "TEAMS"))
    values["connectors"]["msft-teams"]["auth"].pop("client_secret")
    assert faults_of(values, tmp_path) == {
        "connectors.msft-teams.auth.client_secret": "required by method client-secret"
    }


def test_a_managed_identity_needs_nothing_else(tmp_path: Path) -> None:
    """The platform knows the identity; no application id is asked for."""
    auth = load(changed(auth={"method": "managed-identity"}), tmp_path).effective_auth("entra-id")
    assert (auth.method, auth.client_id, auth.assertion) == ("managed-identity", None, None)


def test_assertion_kinds(tmp_path: Path) -> None:
    """Each kind has its own keys and defaults."""
    cognito = {"kind": "aws-cognito", "identity_pool_id": "p", "identity_id": "i", "developer_provider": "d"}
    loaded = load(changed(auth={"client_id": "app", "assertion": cognito}), tmp_path)
    assert loaded.effective_auth("entra-id").assertion == CognitoAssertion(
        kind="aws-cognito",
        identity_pool_id="p",
        identity_id="i",
        developer_provider="d",
        login=None,
        region=None,
    )
    loaded = load(changed(auth={"client_id": "app", "assertion": {"kind": "aws-sts"}}), tmp_path)
    assert loaded.effective_auth("entra-id").assertion == StsAssertion(
        kind="aws-sts", audience="api://AzureADTokenExchange"
    )


@pytest.mark.parametrize("cloud", CLOUDS)
def test_clouds_give_both_hosts(cloud: str, tmp_path: Path) -> None:
    """The cloud chooses the token host, with the tenant appended, and the Graph host."""
    tenant = load(changed(tenant={"id": TENANT.upper(), "cloud": cloud}), tmp_path).tenant
    known = {known.name: known for known in CLOUDS.values()}[tenant.cloud]
    assert tenant.authority_url == f"https://{known.authority_host}/{TENANT}"
    assert tenant.graph_url == f"https://{known.graph_host}"


@pytest.mark.parametrize(
    "origin",
    [
        "https://graph.example",
        "https://graph.example:8443",
        "http://127.0.0.1:5000",
        "http://[::1]:5000",
        "http://localhost:1",
    ],
)
def test_hosts_can_be_replaced(origin: str, tmp_path: Path) -> None:
    """Scheme, host and port are kept, a slash at the end is not."""
    tenant = load(changed(tenant={"id": TENANT, "graph": origin + "/", "authority": origin}), tmp_path).tenant
    assert (tenant.graph_url, tenant.authority_url) == (origin, f"{origin}/{TENANT}")


def test_relative_paths_start_at_the_file(tmp_path: Path) -> None:
    """It does not matter where the command is started."""
    settings = load(
        changed(
            tenant={"id": TENANT, "ca_file": "ca.pem"},
            auth={"method": "certificate", "client_id": "app", "certificate": "file:cert.pem"},
        ),
        tmp_path,
    )
    assert settings.tenant.ca_file == tmp_path / "ca.pem"
    assert settings.effective_auth("entra-id").certificate == SecretReference("file", f"{tmp_path}/cert.pem")


def test_with_a_reader_secrets_are_read_and_checked_in_the_same_pass(tmp_path: Path) -> None:
    """Unset secrets, a salt with a newline and a missing file stand beside the other faults."""
    values = changed(
        tenant={"id": TENANT, "ca_file": "ca.pem"},
        auth={"method": "client-secret", "client_id": "app", "client_secret": "env:UNSET"},
        limits={"memory": 5},
    )
    faults = faults_of(values, tmp_path, reader=SecretReader(environ={"SALT": SALT + "\n"}))
    assert faults.keys() == {"limits.memory", "auth.client_secret", "privacy.salt", "tenant.ca_file"}
    assert "newline" in faults["privacy.salt"]


def test_a_reader_keeps_what_it_read_and_reads_only_what_is_needed(tmp_path: Path) -> None:
    """A secret of a method nobody uses is left alone; what was read is there afterwards."""
    values = changed(auth=MINIMAL["auth"] | {"client_secret": "env:UNSET"})
    environ = {"SALT": SALT}
    reader = SecretReader(environ=environ)
    settings = load(values, tmp_path, reader=reader)
    environ.clear()
    assert reader.read(settings.privacy.salt).reveal_text() == SALT


@pytest.mark.parametrize(
    ("salt", "privacy", "fault"),
    [
        ("short", {}, "shorter than 16"),
        ("short", {"allow_weak_salt": True}, None),
        ("\udcff" * 20, {"allow_weak_salt": True}, "not UTF-8"),
    ],
)
def test_weak_salts_need_consent(salt: str, privacy: dict[str, Any], fault: str | None, tmp_path: Path) -> None:
    """A weak salt passes only with allow_weak_salt; one that is no text never."""
    values, reader = changed(privacy=MINIMAL["privacy"] | privacy), SecretReader(environ={"SALT": salt})
    if fault is None:
        assert load(values, tmp_path, reader=reader).privacy.allow_weak_salt
    else:
        assert fault in faults_of(values, tmp_path, reader=reader)["privacy.salt"]


def test_privacy_alone_ignores_the_other_sections(tmp_path: Path) -> None:
    """A command that touches no tenant does not ask for one, nor for its faults."""
    path = written({"tenant": {"idd": 1}, "privacy": {"salt": "env:SALT", "profile": "psoxy"}}, tmp_path)
    environ = {"M365_EXPORT__LIMITS__X": "1", "SALT": SALT}
    privacy = load_privacy_only(
        path, environ=environ, overrides={"privacy.groups": False}, reader=SecretReader(environ=environ)
    )
    assert (privacy.profile, privacy.groups, privacy.salt) == ("psoxy", False, SecretReference("env", "SALT"))


def test_privacy_alone_has_all_its_faults(tmp_path: Path) -> None:
    """Paths are those of the whole file; a section nobody knows may have been meant to be this one."""
    with pytest.raises(SettingsError) as error:
        load_privacy_only(
            written({"privcy": {}, "privacy": {"salt": LITERAL, "rules": {"mail": "x"}}}, tmp_path),
            environ={"M365_EXPORT__PRIVACY__PROFIL": "x"},
        )
    assert {fault.path for fault in error.value.faults} == {
        "privcy",
        "privacy.salt",
        "privacy.rules.mail",
        "privacy.profil",
    }


def test_rule_options_need_no_salt(tmp_path: Path) -> None:
    """To show rules or a schema no secret is needed, and without a file the defaults hold."""
    assert load_rule_options(None, environ={}).profile == "strict"
    path = written({"privacy": {"salt": "env:SALT", "profile": "psoxy"}}, tmp_path)
    assert load_rule_options(path, environ={}).profile == "psoxy"
    with pytest.raises(SettingsError, match=r"privacy\.profile: expected psoxy, psoxy-no-app-ids or strict"):
        load_rule_options(None, environ={}, overrides={"privacy.profile": "x"})


def test_settings_do_not_change(tmp_path: Path) -> None:
    """What was checked at the start is what holds until the end."""
    settings = load(MINIMAL, tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        settings.tenant.cloud = "china"


def test_a_fault_reads_as_one_line() -> None:
    """Path and message, and the same fault is said once."""
    error = SettingsError([Fault("privacy.salt", "required"), Fault("privacy.salt", "required")])
    assert str(error) == "privacy.salt: required"


def test_the_run_scope_is_what_makes_runs_comparable(tmp_path: Path) -> None:
    """Order and credentials do not matter; sources, people, rules and salt do."""

    def fingerprint(*, salt: str = SALT, connectors: Any = ("entra-id",), **sections: Any) -> str:
        return run_scope_fingerprint(load(changed(**sections), tmp_path), connectors, salt=Secret(salt.encode()))

    base = fingerprint(scope={"exclude_users": ["a@x.test", "b@x.test"]})
    assert base == fingerprint(
        scope={"exclude_users": ["b@x.test", "a@x.test"]},
        auth={"method": "managed-identity"},
        limits={"memory_mib": 500},
        connectors=("entra-id", "entra-id"),
    )
    different = [
        base,
        fingerprint(),
        fingerprint(salt="another salt", scope={"exclude_users": ["a@x.test", "b@x.test"]}),
        fingerprint(scope={"exclude_users": ["a@x.test", "b@x.test"]}, privacy={"salt": "env:S", "profile": "psoxy"}),
        fingerprint(scope={"exclude_users": ["a@x.test", "b@x.test"], "include_guests": True}),
        fingerprint(scope={"exclude_users": ["a@x.test", "b@x.test"]}, output={"layout": "flat"}),
        fingerprint(scope={"exclude_users": ["a@x.test", "b@x.test"]}, connectors=("entra-id", "outlook-mail")),
    ]
    assert len(set(different)) == len(different)


def test_how_members_are_read_is_part_of_every_run(tmp_path: Path) -> None:
    """The directory is read whichever connectors run, so its options make runs different too."""

    def fingerprint(members: str) -> str:
        settings = load(changed(connectors={"entra-id": {"members": members}, "outlook-mail": {}}), tmp_path)
        return run_scope_fingerprint(settings, ("outlook-mail",), salt=Secret(SALT.encode()))

    assert fingerprint("direct") != fingerprint("transitive")


def test_missing_sections_hide_no_fault(tmp_path: Path) -> None:
    """What tenant, privacy and auth need is said in one round, also where no connector is named, or none rightly."""
    auth = {"method": "certificate"}
    expected = {"tenant.id", "privacy.salt", "destination", "state", "auth.client_id", "auth.certificate"}
    without: list[dict[str, Any]] = [{}, {"connectors": None, "tenant": None}, {"connectors": {"outlok-mail": {}}}]
    for sections in without:
        with pytest.raises(SettingsError) as error:
            load_settings(None, environ={}, overrides={"auth": auth, **sections})
        paths = {fault.path for fault in error.value.faults}
        assert paths - {"connectors", "connectors.outlok-mail"} == expected
        assert any(path.startswith("connectors") for path in paths)
