# The image of every process of aiserv: `serve` by default; `worker`, `migrate` or `sidecar` as the command.

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PIP_PYTHON=/opt/aiserv/bin/python
WORKDIR /src
RUN python -m venv --without-pip /opt/aiserv
COPY deploy/requirements-runtime.lock deploy/
RUN pip install --require-hashes --requirement deploy/requirements-runtime.lock
# The build tools stay in this stage; they too are the lock's, hashes and all.
COPY . .
RUN pip install --no-deps --build-constraint deploy/requirements.lock --prefix /aiserv .

FROM python:3.13-slim
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin aiserv
# Dependencies in a layer of their own: a new version of aiserv moves 3 MB, and not 200.
COPY --from=build /opt/aiserv /opt/aiserv
COPY --from=build /aiserv /opt/aiserv
# Nothing is written at run time but recordings to /tmp, so the root file system may be read-only with a tmpfs there.
ENV PATH=/opt/aiserv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
EXPOSE 8080 8081 8090
# A server answers on the first port, a worker on the second, a sidecar on the third; a proxy in the environment is none of their business.
HEALTHCHECK --interval=10s --timeout=8s --start-period=30s CMD \
    for port in "${HTTP_PORT:-8080}" "${WORKER_HTTP_PORT:-8081}" "${SIDECAR_HTTP_PORT:-8090}"; do \
        python -c "from urllib.request import *; build_opener(ProxyHandler({})).open('http://127.0.0.1:$port/healthz', timeout=2)" \
            2>/dev/null && exit 0; \
    done; exit 1
ENTRYPOINT ["aiserv"]
CMD ["serve"]
