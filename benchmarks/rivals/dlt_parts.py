"""What both variants of the job by dlt have in common: client, pipeline, destination.

https://dlthub.com/docs/dlt-ecosystem/verified-sources/rest_api/basic (checked 2026-11)
https://dlthub.com/docs/dlt-ecosystem/destinations/filesystem (checked 2026-11)
"""

from typing import Any

import dlt
from dlt.destinations import filesystem
from dlt.sources.helpers.rest_client.auth import OAuth2ClientCredentials
from dlt.sources.helpers.rest_client.paginators import JSONLinkPaginator

from benchmarks.rivals.job import SCOPE, RivalJob

NEXT_LINK = "'@odata.nextLink'"
TABLE = "mail_messages"


def client_options(job: RivalJob) -> dict[str, Any]:
    """Base URL, sign-in and paging, as `rest_api` and `RESTClient` take them."""
    return {
        "base_url": f"{job.url}/v1.0/",
        "headers": job.headers,
        "auth": OAuth2ClientCredentials(
            access_token_url=job.token_url,
            client_id=job.client,
            client_secret=job.secret,
            access_token_request_data={"scope": SCOPE},
        ),
        "paginator": JSONLinkPaginator(next_url_path=NEXT_LINK),
    }


def load(job: RivalJob, data: Any) -> None:
    """Run the pipeline: Parquet files in the job's folder."""
    pipeline = dlt.pipeline("mail", destination=filesystem(bucket_url=f"file://{job.folder}"), dataset_name="mail")
    pipeline.run(data, loader_file_format="parquet", write_disposition="append").raise_on_failed_jobs()
