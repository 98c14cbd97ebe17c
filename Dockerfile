# docker build -t emotion-tts . && docker run --rm -v "$PWD/output:/app/output" emotion-tts
# A CPU image that runs the demo; for a GPU drop the index line below and run with --gpus all.
FROM python:3.11-slim

RUN apt-get update \
    && apt-get install --no-install-recommends -y make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 app \
    && mkdir /app \
    && chown app:app /app

USER app
WORKDIR /app

# Packages first: this layer is rebuilt only when the pins change.
COPY --chown=app:app requirements.txt Makefile ./
ARG PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
RUN make setup

COPY --chown=app:app . .

CMD ["make", "demo"]
