# syntax=docker/dockerfile:1
# The exporter as an image: no shell is used, no package manager is left, root is not needed, nothing is written.
#
#   docker build -t m365-export .                                     # Debian's Python from the library image
#   docker build --build-arg BASE_IMAGE=registry.example/python:3.12 -t m365-export .
#   docker build --build-arg RUNTIME=workers -t m365-export .         # with Dask, for --engine
#
# BASE_IMAGE needs Python 3.11 or newer as `python3`, with venv. Build and run stage have the same base, so the
# environment that is copied finds its interpreter.
ARG BASE_IMAGE=python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS build
ARG RUNTIME=runtime
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY deploy/image/build.lock deploy/image/runtime.lock deploy/image/workers.lock deploy/image/
RUN python3 -m venv /build \
 && /build/bin/python -m pip install --quiet --require-hashes -r deploy/image/build.lock \
 && python3 -m venv --without-pip /opt/m365-export \
 && /build/bin/python -m pip --python /opt/m365-export/bin/python install --quiet --no-compile --require-hashes \
      -r "deploy/image/${RUNTIME}.lock"
COPY pyproject.toml README.md LICENSE ./
COPY config config
COPY connectors connectors
COPY pipeline pipeline
COPY sinks sinks
COPY deploy/image/slim.py deploy/image/
RUN /build/bin/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheel . \
 && /build/bin/python -m pip --python /opt/m365-export/bin/python install --quiet --no-compile --no-deps /wheel/*.whl \
 && /build/bin/cyclonedx-py environment --output-reproducible --output-format JSON \
      --output-file /opt/m365-export/sbom.cdx.json /opt/m365-export/bin/python \
 && /opt/m365-export/bin/python deploy/image/slim.py \
 && /opt/m365-export/bin/python -m compileall -q /opt/m365-export/lib

# Object stores for `docker-compose.yml`: imitations, for trying out only.
FROM ${BASE_IMAGE} AS stores
COPY deploy/image/stores.lock /stores.lock
RUN python3 -m venv /opt/stores \
 && /opt/stores/bin/python -m pip install --quiet --no-cache-dir --require-hashes -r /stores.lock
COPY deploy/compose/make_buckets.py deploy/compose/serve_gcs.py tests/servers/gcs.py /opt/stores/
USER 65532:65532
ENV PATH=/opt/stores/bin:$PATH PYTHONDONTWRITEBYTECODE=1

FROM ${BASE_IMAGE} AS run
LABEL org.opencontainers.image.title="m365-export" \
      org.opencontainers.image.description="Microsoft 365 activity, pseudonymized in the stream, as Parquet in your bucket" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/m365-export /opt/m365-export
# For destination or state in a folder: the one place that the user may write, if a volume is mounted there.
RUN install -d -o 65532 -g 65532 /var/lib/m365-export /var/lib/m365-export/trust
# Settings are mounted at /etc/m365-export; the home is not written, SDKs look there for their own settings.
ENV M365_EXPORT_CONFIG=/etc/m365-export/m365-export.yaml \
    HOME=/nonexistent \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /etc/m365-export
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/m365-export/bin/m365-export"]
CMD ["--help"]
