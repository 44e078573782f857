"""Every deployment file is well-formed by its own schema, and says what the product says."""

import os
import re
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import hcl2
import kubernetes_validate
import pytest
import yaml

from config.instants import parse_duration
from config.load import load_settings
from config.permissions import NEEDS, ROLES, least_roles
from connectors.emulator import Emulator, Tenant
from pipeline.app import utc_now
from pipeline.cli import worker as worker_module
from pipeline.cli.engine import parse_engine
from pipeline.exits import Exit

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUSTOMIZATIONS = ("overlays/eks", "overlays/gke", "overlays/aks", "backfill", "dask")
TERRAFORM = sorted((DEPLOY / "terraform").iterdir())
ENVIRONMENT = {"M365_EXPORT_SALT": "a salt that is long enough", "M365_EXPORT_CLIENT_SECRET": "none"}

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl renders the kustomizations")


def text_of(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def run_tool(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60, check=False)


def rendered(name: str) -> list[dict[str, Any]]:
    answer = run_tool("kubectl", "kustomize", DEPLOY / "kubernetes" / name)
    assert answer.returncode == 0, answer.stderr
    return list(yaml.safe_load_all(answer.stdout))


def one(resources: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [each for each in resources if each["kind"] == kind]
    return found


def test_the_dockerfile_has_nothing_a_linter_minds() -> None:
    """hadolint passes the image's recipe without an exception."""
    answer = run_tool(Path(sys.executable).with_name("hadolint"), "--no-color", ROOT / "Dockerfile")
    assert answer.returncode == 0, answer.stdout


def test_the_compose_file_is_one() -> None:
    """docker-compose.yml keeps to the schema of compose files."""
    tool = Path(sys.executable).with_name("check-jsonschema")
    answer = run_tool(tool, "--builtin-schema", "vendor.compose-spec", ROOT / "docker-compose.yml")
    assert answer.returncode == 0, answer.stdout


def test_compose_knows_the_emulators_tenant() -> None:
    """The constants of the compose files are what the emulator has for its first seed."""
    emulator = Emulator(Tenant(users=2, now=utc_now(), history=timedelta(days=1)))
    settings = yaml.safe_load(text_of("deploy/compose/m365-export.yaml"))
    assert settings["tenant"]["id"] == emulator.tenant_id
    assert settings["auth"]["client_id"] == emulator.client_id
    compose = yaml.safe_load(text_of("docker-compose.yml"))
    assert compose["x-secrets"]["M365_EXPORT_CLIENT_SECRET"] == emulator.client_secret


def test_every_service_of_compose_is_locked_down() -> None:
    """No container of the compose file may write its root, keep a capability, or gain a privilege."""
    services = yaml.safe_load(text_of("docker-compose.yml"))["services"]
    assert set(services) == {"emulator", "s3", "gcs", "buckets", "export-s3", "export-gcs"}
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges"]


@pytest.mark.parametrize(
    "path",
    [
        "compose/m365-export.yaml",
        "kubernetes/base/m365-export.yaml",
        "kubernetes/overlays/eks/m365-export.yaml",
        "kubernetes/overlays/gke/m365-export.yaml",
        "kubernetes/overlays/aks/m365-export.yaml",
    ],
)
def test_shipped_settings_load(path: str) -> None:
    """Each settings file that is shipped is accepted as it stands."""
    settings = load_settings(DEPLOY / path, environ=ENVIRONMENT)
    assert set(settings.connectors.names) == {"entra-id", "outlook-mail", "outlook-calendar", "msft-teams"}


@needs_kubectl
@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_kubernetes_takes_what_is_rendered(name: str) -> None:
    """Every rendered resource keeps to the schema of Kubernetes, without an unknown key."""
    for resource in rendered(name):
        kubernetes_validate.validate(resource, "1.30", strict=True)
        assert resource["kind"] == "Namespace" or resource["metadata"]["namespace"] == "m365-export"


@needs_kubectl
@pytest.mark.parametrize("name", KUSTOMIZATIONS)
def test_pods_have_no_right_too_many(name: str) -> None:
    """Every pod runs as nobody, writes no root, has no token of the API, and a limit of memory; its settings exist."""
    resources = rendered(name)
    settings = one(resources, "ConfigMap")["metadata"]["name"]
    jobs = [each["spec"]["jobTemplate"] for each in resources if each["kind"] == "CronJob"]
    jobs += [each for each in resources if each["kind"] == "Job"]
    assert len(jobs) == (2 if name == "backfill" else 1)
    for job in jobs:
        pod = job["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"] == "768Mi"
        assert container["image"].startswith("registry.example/")
        assert [each["configMap"]["name"] for each in pod["volumes"] if "configMap" in each] == [settings]
        assert job["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"] == "m365-export"


@needs_kubectl
def test_workers_are_as_locked_down_as_the_export_and_have_its_settings() -> None:
    """Scheduler and workers have no right that the CronJob lacks; only workers get settings, secrets and identity."""
    resources = rendered("dask")
    deployments = {each["metadata"]["name"]: each for each in resources if each["kind"] == "Deployment"}
    assert set(deployments) == {"m365-export-scheduler", "m365-export-workers"}
    cron = one(resources, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (export,) = cron["containers"]
    for deployment in deployments.values():
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"] == cron["securityContext"]
        assert pod["automountServiceAccountToken"] is False
        assert container["securityContext"] == export["securityContext"]
        assert container["image"] == export["image"]
        assert container["resources"]["limits"]["memory"]
    workers = deployments["m365-export-workers"]["spec"]["template"]["spec"]
    (worker,) = workers["containers"]
    assert (worker["env"], worker["volumeMounts"]) == (export["env"], export["volumeMounts"])
    assert (workers["volumes"], workers["serviceAccountName"]) == (cron["volumes"], cron["serviceAccountName"])
    assert worker["args"][-1] == f"--preload={worker_module.__name__}"
    (scheduler,) = deployments["m365-export-scheduler"]["spec"]["template"]["spec"]["containers"]
    assert "env" not in scheduler
    assert [mount["name"] for mount in scheduler["volumeMounts"]] == ["tmp"]


@needs_kubectl
def test_only_pods_of_the_export_reach_the_scheduler() -> None:
    """Whoever reaches it has the workers' rights: nobody else does. The export is led to where it listens."""
    resources = rendered("dask")
    policies = {each["metadata"]["name"]: each["spec"] for each in resources if each["kind"] == "NetworkPolicy"}
    (ingress,) = policies["m365-export-dask"]["ingress"]
    assert ingress["from"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "m365-export"}}}]
    service = one(resources, "Service")
    arguments = one(resources, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"]
    place = parse_engine(arguments[arguments.index("--engine") + 1]).address
    assert place == f"{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"


@needs_kubectl
def test_cron_mails_only_what_somebody_should_look_at() -> None:
    """Neither the table of a night that went well nor its log; a mail is warnings and errors."""
    (line,) = [line for line in (DEPLOY / "cron/m365-export").read_text().splitlines() if line[:1].isdigit()]
    command, _, target = line.partition(">")
    assert target == "/dev/null"
    assert command.split()[-5:] == ["--log-level", "warning", "run", "--deadline", "5h"]


def test_the_cron_job_leaves_the_exporter_its_time() -> None:
    """Kubernetes kills later than the exporter stops by itself, and never starts a second run beside the first."""
    spec = one(rendered("overlays/eks"), "CronJob")["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    job = spec["jobTemplate"]["spec"]
    pod = job["template"]["spec"]
    arguments = pod["containers"][0]["args"]
    deadline = parse_duration(arguments[arguments.index("--deadline") + 1])
    grace = timedelta(seconds=pod["terminationGracePeriodSeconds"])
    assert timedelta(seconds=job["activeDeadlineSeconds"]) > deadline + grace
    assert grace > timedelta(seconds=20)


@needs_kubectl
@pytest.mark.parametrize("kind", ["CronJob", "Job"])
def test_only_what_may_pass_is_tried_again(kind: str) -> None:
    """Settings at fault, a lease held, and a run that is committed are no reason for another pod."""
    spec = one(rendered("backfill"), kind)["spec"]
    job = spec["jobTemplate"]["spec"] if kind == "CronJob" else spec
    rule = job["podFailurePolicy"]["rules"][0]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"]["values"] == [Exit.USAGE, Exit.PARTIAL, Exit.LEASE_HELD]


def test_systemd_would_accept_the_units() -> None:
    """The units are read by systemd without a complaint about them."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze reads the units")
    units = [DEPLOY / "systemd" / f"m365-export.{kind}" for kind in ("service", "timer")]
    answer = run_tool("systemd-analyze", "verify", "--man=no", *units)
    complaints = [line for line in answer.stderr.splitlines() if "m365-export" in line and "not executable" not in line]
    assert [line for line in complaints if "No such file" not in line] == []


def test_the_unit_counts_as_success_what_needs_nobody() -> None:
    """systemd calls an interrupted run and a held lease a success, and nothing else that is not one."""
    text = text_of("deploy/systemd/m365-export.service")
    (codes,) = re.findall(r"^SuccessExitStatus=(.*)$", text, re.MULTILINE)
    assert [int(code) for code in codes.split()] == [Exit.INTERRUPTED, Exit.LEASE_HELD]


@pytest.mark.parametrize("folder", TERRAFORM, ids=lambda folder: folder.name)
def test_terraform_files_parse_and_every_reference_exists(folder: Path) -> None:
    """Each module is HCL in which every variable, local and resource that is named is declared."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.tf")))
    parsed = [hcl2.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.tf"))]
    assert all(parsed)
    declared = set(re.findall(r'^variable "(\w+)"', text, re.MULTILINE))
    assert set(re.findall(r"\bvar\.(\w+)", text)) == declared
    resources = set(re.findall(r'^resource "(\w+)" "(\w+)"', text, re.MULTILINE))
    provider = {"entra": "azuread", "aws": "aws", "gcp": "google"}[folder.name]
    used = set(re.findall(rf"(?<!data\.)\b({provider}_\w+)\.(\w+)", re.sub(r"#.*", "", text)))
    assert used <= resources
    if shutil.which("terraform") is not None:
        environment = {**os.environ, "TF_CLI_CONFIG_FILE": os.devnull}
        answer = subprocess.run(
            ["terraform", "fmt", "-check", str(folder)], capture_output=True, timeout=60, check=False, env=environment
        )
        assert answer.returncode == 0, answer.stdout.decode()


def test_terraform_grants_the_roles_the_product_needs() -> None:
    """The registrations get just the roles of the product's own table, by name and id."""
    text = text_of("deploy/terraform/entra/main.tf")
    written = dict(
        re.findall(r'^\s+"([\w.-]+\.(?:Read|ReadBasic)(?:\.All)?)"\s+= "([0-9a-f-]{36})"', text, re.MULTILINE)
    )
    least: dict[str, str] = {}
    for connector in {need.connector for need in NEEDS}:
        for profile in ("strict", "psoxy"):
            needs = [
                need
                for need in NEEDS
                if need.connector == connector and (need.profiles is None or profile in need.profiles)
            ]
            least |= {role: ROLES[role].id for role in least_roles(needs)}
    assert written == least


def test_the_exporter_may_create_at_the_destination_and_nothing_else() -> None:
    """The rights on the destination: to create and to abort in S3, the role that cannot overwrite in Cloud Storage."""
    aws = text_of("deploy/terraform/aws/main.tf")
    (publish,) = re.findall(r'sid\s+= "Publish"\n\s+actions\s+= \[(.*)\]', aws)
    assert publish == '"s3:PutObject", "s3:AbortMultipartUpload"'
    gcp = text_of("deploy/terraform/gcp/main.tf")
    (block,) = re.findall(r'"exporter_destination" \{(.*?)\n\}', gcp, re.DOTALL)
    assert '"roles/storage.objectCreator"' in block


@pytest.mark.parametrize("name", ["runtime", "workers", "build", "stores"])
def test_image_locks_name_no_host(name: str) -> None:
    """The locks of the image say what is installed and its digests, not from where."""
    text = text_of(f"deploy/image/{name}.lock")
    assert "--hash=sha256:" in text
    assert "://" not in text


def test_the_image_installs_what_the_tests_ran_with() -> None:
    """Every package of the image has the version of the lock that the tests are run with."""
    pin = re.compile(r"^([a-z0-9.-]+)(?:\[[a-z,]+\])?==(\S+)", re.MULTILINE)
    tested = dict(pin.findall(text_of("requirements.lock")))
    assert dict(pin.findall(text_of("deploy/image/runtime.lock"))).items() <= tested.items()
