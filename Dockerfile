# One image for web, worker, beat, Flower and the migrations; docker-compose.yml says which command each runs.

FROM python:3.11.14-slim-bookworm AS build
COPY requirements.lock /
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir --require-hashes -r /requirements.lock

FROM python:3.11.14-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /app --shell /usr/sbin/nologin counterfoil \
    && install -d -o counterfoil /app/var
COPY --from=build /venv /venv
COPY . /app
WORKDIR /app
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER counterfoil
# Two processes, for two cores; the folder is where their metrics meet.
CMD ["env", "PROMETHEUS_MULTIPROC_DIR=/tmp", "granian", "--interface", "wsgi", "--factory", "--no-ws", "--host", "0.0.0.0", "--workers", "2", "--blocking-threads", "32", "web:create_app"]
