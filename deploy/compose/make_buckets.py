"""Waits until the tenant and both object stores answer, and makes the buckets; ends with an error after two minutes.

Written for docker-compose.yml: health checks differ between its implementations, the end of a process does not.
"""

import os
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import boto3

DEADLINE_S = 120
BUCKETS = ("m365-export", "m365-export-state")


def main() -> None:
    """Wait, then make what is missing."""
    s3, gcs, tenant = os.environ["S3_URL"], os.environ["GCS_URL"], os.environ["TENANT_URL"]
    ends = time.monotonic() + DEADLINE_S
    for url in (s3, gcs, tenant):
        wait_for(url, until=ends)
    while not Path(os.environ["TRUST"]).exists():
        pause(until=ends)
    client = boto3.client(
        "s3", endpoint_url=s3, region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none"
    )
    for bucket in BUCKETS:
        client.create_bucket(Bucket=bucket)
        make_gcs_bucket(gcs, bucket)
    print("tenant and buckets are ready")


def wait_for(url: str, *, until: float) -> None:
    """Until something listens there."""
    where = urlsplit(url)
    while True:
        try:
            socket.create_connection((where.hostname, where.port), timeout=2).close()
        except OSError:
            pause(until=until)
        else:
            return


def make_gcs_bucket(url: str, bucket: str) -> None:
    """One that is there already is fine."""
    body = f'{{"name": "{bucket}"}}'.encode()
    request = urllib.request.Request(
        f"{url}/storage/v1/b?project=none", data=body, headers={"Content-Type": "application/json"}
    )
    try:
        urllib.request.urlopen(request, timeout=10).close()
    except urllib.error.HTTPError as error:
        if error.code != 409:
            raise


def pause(*, until: float) -> None:
    """Half a second, as long as there is time."""
    if time.monotonic() > until:
        raise SystemExit("tenant or object stores did not answer in time")
    time.sleep(0.5)


main()
