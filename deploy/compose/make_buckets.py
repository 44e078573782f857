"""Waits until the tenant and both object stores answer, and makes the buckets; ends with an error after two minutes.

Written for docker-compose.yml: health checks differ between its implementations, the end of a process does not.
"""

import http.client
import os
import ssl
import time
import urllib.error
import urllib.request

import boto3

DEADLINE_S = 120
PAUSE_S = 0.5  # between two attempts: containers start in seconds
BUCKETS = ("m365-export", "m365-export-state")


def main() -> None:
    """Wait, then make what is missing."""
    s3, gcs, tenant = os.environ["S3_URL"], os.environ["GCS_URL"], os.environ["TENANT_URL"]
    ends = time.monotonic() + DEADLINE_S
    wait_for(s3, until=ends)
    wait_for(f"{gcs}/storage/v1/b?project=none", until=ends)
    wait_for(f"{tenant}/_emulator/about", until=ends, authority=os.environ["TRUST"])
    client = boto3.client(
        "s3", endpoint_url=s3, region_name="us-east-1", aws_access_key_id="none", aws_secret_access_key="none"
    )
    for bucket in BUCKETS:
        client.create_bucket(Bucket=bucket)
        make_gcs_bucket(gcs, bucket)
    print("tenant and buckets are ready")


def wait_for(url: str, *, until: float, authority: str | None = None) -> None:
    """Until it answers a request, with whatever status; `authority`: the file of the one to trust, once it is there.

    Each attempt has what is left of the time at most, and the pause between two never outlasts it.
    """
    while True:
        try:
            trusted = ssl.create_default_context(cafile=authority) if url.startswith("https:") else None
            urllib.request.urlopen(url, timeout=max(0.1, min(5.0, until - time.monotonic())), context=trusted).close()
        except urllib.error.HTTPError:
            return
        except (OSError, http.client.HTTPException):  # refused, unknown yet, not trusted yet
            if time.monotonic() + PAUSE_S > until:
                raise SystemExit(f"{url} did not answer within {DEADLINE_S} seconds") from None
            time.sleep(PAUSE_S)
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


main()
