# The service in a container. The whole image is a CPU's when pip is pointed at PyTorch's index of CPU builds:
#   docker build --build-arg TORCH_INDEX=URL .
# (the URL is on PyTorch's installation page). Without it pip's own index is asked, whose build brings CUDA along: it
# runs on a CPU too, and uses a GPU where the container is given one, but it is several gigabytes larger.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS build
ARG TORCH_INDEX
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
WORKDIR /source
# torch first and alone: the largest layer changes the least
COPY constraints.txt ./
RUN pip install ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} "$(grep -o '^torch==[0-9.]*' constraints.txt)"
COPY pyproject.toml README.md rejoinder.py ./
COPY app app
COPY chatbot chatbot
COPY training training
COPY migrations migrations
# Only a local build of torch's version may differ from the pinned set.
RUN sed '/^torch==/d' constraints.txt > /tmp/constraints.txt \
    && pip install --constraint /tmp/constraints.txt ".[serve,postgres]"

FROM python:${PYTHON}-slim AS serve
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin rejoinder \
    && install -d -o rejoinder -g rejoinder /models /state
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    REJOINDER_MODELS=/models \
    REJOINDER_STATE=/state
USER rejoinder
WORKDIR /home/rejoinder
VOLUME ["/state"]
EXPOSE 8000
# Live, not ready: a container without a model still shows the page that says what to do.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/live', timeout=2)"]
STOPSIGNAL SIGTERM
CMD ["rejoinder", "serve", "--models", "/models", "--host", "0.0.0.0", "--port", "8000"]
