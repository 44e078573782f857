"""The policies as deploy/terraform/aws grants them, on a server that enforces them: enough, and nothing beyond."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import hcl2
import pytest
from botocore.exceptions import ClientError
from moto import settings as moto_settings

from tests.contract.backends import s3_client
from tests.integration.deaths import CONNECTORS, RUN, scene
from tests.integration.doomed import Operator
from tests.integration.ground import S3, operator, s3_ground

TERRAFORM = Path(__file__).parents[2] / "deploy" / "terraform" / "aws" / "main.tf"
BUCKETS = {"destination": "export", "state": "state"}


def policy(name: str) -> str:
    """A policy document of the module, with the buckets of these tests, without what is optional."""
    module = hcl2.loads(TERRAFORM.read_text(encoding="utf-8"))
    (document,) = [
        each[kind][found]
        for each in module["data"]
        for kind in each
        for found in each[kind]
        if (kind.strip('"'), found.strip('"')) == ("aws_iam_policy_document", name)
    ]
    statements = [
        {
            "Effect": "Allow",
            "Action": [action.strip('"') for action in statement["actions"]],
            "Resource": [_arn(resource) for resource in statement["resources"]],
        }
        for statement in document["statement"]
        if "kms" not in str(statement["actions"])
    ]
    assert statements
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def _arn(resource: str) -> str:
    place = re.search(r'aws_s3_bucket\.export\[\\?"(\w+)\\?"\]', resource)
    assert place is not None, resource
    return f"arn:aws:s3:::{BUCKETS[place[1]]}" + ("/*" if "/*" in resource else "")


def sign_in(s3: S3, name: str) -> dict[str, str]:
    """The keys of a new user who has that policy."""
    iam = boto3.client("iam", endpoint_url=s3.url, region_name="us-east-1")
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=policy(name))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    iam.close()
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def signed_in(someone: Operator, keys: dict[str, str]) -> Operator:
    return Operator(someone.folder, {**someone.environ, **keys})


@pytest.fixture
def enforced(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Call it when the users are there: from then on every call needs a right."""

    def enforce(*, on: bool) -> None:
        monkeypatch.setattr(moto_settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0.0 if on else float("inf"))

    yield enforce
    enforce(on=False)


def client_of(s3: S3, keys: dict[str, str]) -> Any:
    return s3_client(s3.url, key_id=keys["AWS_ACCESS_KEY_ID"], secret=keys["AWS_SECRET_ACCESS_KEY"])


def refused(call: Any, **parameters: Any) -> bool:
    with pytest.raises(ClientError) as error:
        call(Bucket="export", **parameters)
    return bool(error.value.response["Error"]["Code"] == "AccessDenied")


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_the_policies_suffice_and_grant_nothing_more(tmp_path: Path, enforced: Any) -> None:
    """The exporter runs, aborts, and sees nothing of the destination; the reader verifies, and changes nothing."""
    with s3_ground(tmp_path) as s3:
        async with scene(tmp_path, s3, users=2) as here:
            someone = operator(tmp_path / "governed", here.emulator, s3, keys=CONNECTORS)
            exporter, reader = sign_in(s3, "exporter"), sign_in(s3, "reader")
            enforced(on=True)

            assert await signed_in(someone, exporter).call(*RUN) == 0, someone.log()
            assert await signed_in(someone, exporter).call("verify") == 3, someone.log()
            assert await signed_in(someone, reader).call("verify") == 0, someone.log()
            assert await signed_in(someone, reader).call(*RUN) == 3, someone.log()

            enforced(on=False)
            key = next(f"governed/{key}" for key in s3.visible("governed") if key.endswith(".parquet"))
            enforced(on=True)
            client = client_of(s3, exporter)
            assert refused(client.get_object, Key=key)
            assert refused(client.list_objects_v2)
            assert refused(client.delete_object, Key=key)
            upload = client.create_multipart_upload(Bucket="export", Key="governed/given-up")["UploadId"]
            client.abort_multipart_upload(Bucket="export", Key="governed/given-up", UploadId=upload)
            client.close()
            client = client_of(s3, reader)
            assert refused(client.put_object, Key="governed/more", Body=b"")
            assert refused(client.delete_object, Key=key)
            client.close()
            enforced(on=False)
