"""Secrets kept by AWS and Google Cloud.

Rests on: AWS Systems Manager `GetParameter` with decryption
(https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html), AWS Secrets Manager
`GetSecretValue` (https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_GetSecretValue.html),
and the REST method `projects.secrets.versions.access` of Google Secret Manager
(https://cloud.google.com/secret-manager/docs/reference/rest/v1/projects.secrets.versions/access), all
checked 2026-11. Credentials, region and endpoint are found the way each SDK finds them.

The SDKs' own messages are not passed on: they quote requests and answers. Their error codes are.
"""

import base64
import binascii
from typing import Any

from config.secrets import SecretUnavailableError

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 15
ATTEMPTS = 3

_GCP_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


def read_ssm_parameter(name: str) -> bytes:
    """The decrypted value of a Parameter Store parameter, by name or ARN. Raises SecretUnavailableError."""
    answer = _call_aws("ssm", "get_parameter", name, Name=name, WithDecryption=True)
    return str(answer["Parameter"]["Value"]).encode()


def read_secrets_manager(name: str) -> bytes:
    """The current value of a Secrets Manager secret, by name or ARN. Raises SecretUnavailableError."""
    answer = _call_aws("secretsmanager", "get_secret_value", name, SecretId=name)
    return bytes(answer["SecretBinary"]) if "SecretBinary" in answer else str(answer["SecretString"]).encode()


def read_gcp_secret(resource: str, *, endpoint: str | None = None) -> bytes:
    """The payload of `projects/P[/locations/L]/secrets/S[/versions/V]`, by default of the latest version.

    `endpoint` replaces Google's, for a private access point. Raises SecretUnavailableError.
    """
    try:
        import google.auth  # noqa: PLC0415 - optional package
        from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415 - optional package
        from google.auth.transport.requests import AuthorizedSession  # noqa: PLC0415 - optional package
        from requests import RequestException  # noqa: PLC0415 - loaded with the one above
    except ImportError:
        raise SecretUnavailableError("gcp-secret needs the package google-auth: install m365-export[gcs]") from None
    version = resource if "/versions/" in resource else f"{resource}/versions/latest"
    url = f"{endpoint or _gcp_endpoint(resource)}/v1/{version}:access"
    try:
        credentials, _ = google.auth.default(scopes=[_GCP_SCOPE])
        with AuthorizedSession(credentials) as session:  # type: ignore[no-untyped-call]  # google-auth: untyped
            answer = session.get(url, timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S))
    except (GoogleAuthError, RequestException) as error:
        raise SecretUnavailableError(f"cannot read {resource}: {type(error).__name__}") from None
    if answer.status_code != 200:
        raise SecretUnavailableError(f"cannot read {resource}: HTTP {answer.status_code}")
    try:
        return base64.b64decode(answer.json()["payload"]["data"], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise SecretUnavailableError(f"cannot read {resource}: the answer holds no payload") from None


def _call_aws(service: str, operation: str, name: str, **arguments: Any) -> dict[str, Any]:
    try:
        import boto3  # noqa: PLC0415 - optional package
        from botocore.config import Config  # noqa: PLC0415 - optional package
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - optional package
    except ImportError:
        raise SecretUnavailableError(f"aws-{service} needs the package boto3: install m365-export[s3]") from None
    patience = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
    )
    try:
        client = boto3.client(service, region_name=_region_of_arn(name), config=patience)
        answer: dict[str, Any] = getattr(client, operation)(**arguments)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown error")
        raise SecretUnavailableError(f"cannot read {name}: {code}") from None
    except BotoCoreError as error:
        raise SecretUnavailableError(f"cannot read {name}: {type(error).__name__}") from None
    return answer


def _region_of_arn(name: str) -> str | None:
    """The region an ARN names, else None: then the SDK's own settings decide."""
    return name.split(":")[3] or None if name.startswith("arn:") and name.count(":") >= 5 else None


def _gcp_endpoint(resource: str) -> str:
    """Regional secrets answer only at their region's host."""
    parts = resource.split("/")
    host = f"secretmanager.{parts[3]}.rep.googleapis.com" if parts[2] == "locations" else "secretmanager.googleapis.com"
    return f"https://{host}"
