FROM python:3.11-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements.lock ./
RUN pip wheel --quiet --require-hashes --no-deps --wheel-dir /wheels -r requirements.lock
COPY . .
# Every file in /wheels was checked against the lock; the image takes what liqguard itself needs.
RUN python -m venv /opt/build \
    && /opt/build/bin/pip install --quiet --no-index --find-links /wheels hatchling editables \
    && /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels . \
    && python -m venv /opt/liqguard \
    && /opt/liqguard/bin/pip install --quiet --no-index --find-links /wheels liqguard

FROM python:3.11-slim
ENV PATH=/opt/liqguard/bin:$PATH PYTHONDONTWRITEBYTECODE=1 LIQGUARD_STATE_DIR=/var/lib/liqguard
COPY --from=build /opt/liqguard /opt/liqguard
# A named volume takes over owner and mode of the folder that it covers.
RUN install -d -o 10001 -g 10001 /var/lib/liqguard
WORKDIR /app
COPY config ./config
USER 10001:10001
ENTRYPOINT ["liqguard"]
CMD ["--help"]
