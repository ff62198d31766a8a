# docker build -t switchboard . && docker run -p 127.0.0.1:8080:8080 -v switchboard:/data switchboard
FROM node:22-slim AS frontend

WORKDIR /frontend
COPY frontend ./
RUN npm ci --ignore-scripts \
    && npm run build

FROM python:3.13-slim AS dependencies

COPY requirements.lock /tmp/
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir --require-hashes -r /tmp/requirements.lock

FROM python:3.13-slim

# Fixed ids: a volume's files keep their owner from image to image.
RUN groupadd --system --gid 10001 switchboard \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin \
        switchboard \
    && install -d -m 0700 -o 10001 -g 10001 /data

COPY --from=dependencies /opt/venv /opt/venv
WORKDIR /srv/switchboard
COPY deploy/healthcheck.py ./
COPY --from=frontend /frontend/client frontend/client
COPY --from=frontend /frontend/dist frontend/dist
COPY app app
RUN /opt/venv/bin/python -m compileall -q app

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SWITCHBOARD_HOST=0.0.0.0 \
    SWITCHBOARD_PORT=8080 \
    SWITCHBOARD_DATA_DIR=/data

USER 10001:10001
VOLUME ["/data"]
EXPOSE 8080

# A start that upgrades a large database takes minutes, and answers nothing meanwhile.
HEALTHCHECK --interval=15s --timeout=5s --start-period=10m --retries=3 \
    CMD ["python", "healthcheck.py"]

# `docker stop` sends SIGTERM and waits 10 s; the server exits within 8 s.
STOPSIGNAL SIGTERM
ENTRYPOINT ["python", "-m", "app"]
CMD ["serve"]
