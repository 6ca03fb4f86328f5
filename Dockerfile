# The sidecar's image. It builds wherever there is a Docker or Buildah. What comes from outside has its hash in requirements.lock and
# deploy/image/build.lock, but for a C compiler from the base's own Debian, where the base has none: it builds the decoder that is compiled, of
# which the image has only the result. --build-arg KERNEL= leaves that out. Two builds of one commit on one base make the same files, as long
# as the compiler is the same.
#
# PYTHON_IMAGE is the base of both stages, any with Python >= 3.11 in glibc. A tag moves: a release gives the digest too, which
#   docker buildx imagetools inspect python:3.13-slim-bookworm --format '{{.Manifest.Digest}}'
# tells, as --build-arg PYTHON_IMAGE=python:3.13-slim-bookworm@sha256:...
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ARG VERSION=""
ARG REVISION=""
ARG SOURCE_DATE_EPOCH=315532800
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
ARG KERNEL=yes
# hadolint ignore=DL3008
RUN test -z "${KERNEL}" || command -v cc > /dev/null \
 || { apt-get update -qq && apt-get install -qq --yes --no-install-recommends gcc libc6-dev > /dev/null && rm -rf /var/lib/apt/lists/*; }
COPY requirements.lock deploy/image/build.lock ./
RUN python3 -m venv /build \
 && /build/bin/python -m pip install --quiet --require-hashes --only-binary :all: --requirement build.lock \
 && python3 -m venv --without-pip /opt/infermeter \
 && /build/bin/python -m pip --python /opt/infermeter/bin/python install --quiet --no-compile --no-deps --require-hashes \
      --only-binary :all: --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY exporter exporter
RUN sed -i "s/^__revision__ = \"\"/__revision__ = \"${REVISION}\"/" exporter/infermeter/__init__.py \
 && /build/bin/python -m pip wheel --quiet --no-index --no-deps --no-build-isolation --wheel-dir dist . ${KERNEL:+./exporter/kernel} \
 && /build/bin/python -m pip --python /opt/infermeter/bin/python install --quiet --no-compile --no-index --no-deps dist/*.whl \
 && { test -z "${VERSION}" || test "$(/opt/infermeter/bin/infermeter --version)" = "infermeter ${VERSION}"; }
# What only tests, type checkers and compilers read goes; bytecode that trusts its source, so that no start compiles and no date matters.
RUN find /opt/infermeter -depth -type d \( -name tests -o -path '*/numpy/f2py' -o -path '*/numpy/distutils' -o -path /opt/infermeter/include -o -path /opt/infermeter/share \) -exec rm -r {} + \
 && find /opt/infermeter -type f \( -name '*.py[ix]' -o -name '*.p[xy]d' -o -name '*.[ach]' \) -delete \
 && find /opt/infermeter/bin -mindepth 1 ! -name 'python*' ! -name infermeter -delete \
 && /opt/infermeter/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/infermeter/lib \
 && find /opt/infermeter -exec touch --no-dereference --date "@${SOURCE_DATE_EPOCH}" {} +

FROM ${PYTHON_IMAGE}
ARG VERSION=""
ARG REVISION=""
ARG SOURCE=""
LABEL org.opencontainers.image.title="infermeter" \
      org.opencontainers.image.description="The meter on AI inference servers: cost per inference at the SLA, for Prometheus and Grafana" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}"
COPY --from=build /opt/infermeter /opt/infermeter
# PATH leads to the same program by name. `utility` is NVML without CUDA; which GPUs are seen is the deployment's to say.
ENV PATH=/opt/infermeter/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    NVIDIA_DRIVER_CAPABILITIES=utility
# 10470: metrics, page and API; 4317 and 4318: OTLP over gRPC and HTTP, on loopback unless `listen` says otherwise.
EXPOSE 10470 4317 4318
USER 65532:65532
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["/opt/infermeter/bin/infermeter", "health"]
ENTRYPOINT ["/opt/infermeter/bin/infermeter"]
CMD ["serve"]
