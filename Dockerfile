# Two images of one source:
#   docker build --target serve .     the service
#   docker build --target train .     preparing, training, evaluating; nothing of the web and no database in it
# For a CPU alone, several gigabytes smaller, pip is pointed at PyTorch's index of CPU builds (the URL is on PyTorch's
# installation page): --build-arg TORCH_INDEX=URL. Without it pip's own index is asked, whose build brings CUDA along; it
# runs on a CPU too, and uses a GPU where the container is given one.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
ARG TORCH_INDEX
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
WORKDIR /source
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
# torch first and alone: the largest layer changes the least
COPY constraints.txt ./
# hadolint ignore=DL3013 # its version is that of constraints.txt
RUN pip install ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} "$(grep -o '^torch==[0-9.]*' constraints.txt)" \
    # Only a local build of torch's version may differ from the pinned set.
    && sed '/^torch==/d' constraints.txt > /tmp/constraints.txt
COPY pyproject.toml README.md rejoinder.py ./
COPY app app
COPY chatbot chatbot
COPY training training
COPY migrations migrations

FROM build AS build-serve
RUN pip install --constraint /tmp/constraints.txt ".[serve,postgres]"

FROM build AS build-train
RUN pip install --constraint /tmp/constraints.txt ".[train]"

FROM python:${PYTHON}-slim AS run
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin rejoinder \
    && install -d -o rejoinder -g rejoinder /models /state /data /runs
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NUMBA_CACHE_DIR=/tmp/numba
WORKDIR /home/rejoinder

# docker run --rm -v ./data:/data -v ./runs:/runs IMAGE train cseqgan --data /data/support --out /runs/support
FROM run AS train
COPY --from=build-train /venv /venv
USER 10001
VOLUME ["/data", "/runs"]
# It runs to its end and answers nobody: there is nothing to ask whether it is well.
HEALTHCHECK NONE
ENTRYPOINT ["rejoinder"]
CMD ["train", "--help"]

FROM run AS serve
COPY --from=build-serve /venv /venv
ENV REJOINDER_MODELS=/models \
    REJOINDER_STATE=/state \
    REJOINDER_HOST=0.0.0.0 \
    REJOINDER_PORT=8000
USER 10001
VOLUME ["/state"]
EXPOSE 8000
# Live, not ready: a container without a model still shows the page that says what to do.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/live', timeout=2)"]
STOPSIGNAL SIGTERM
CMD ["rejoinder", "serve"]
