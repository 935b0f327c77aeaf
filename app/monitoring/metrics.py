"""The numbers that are counted as things happen. A registry is an app's own: nothing is global.

Labels are names of models, routes and states, of which there are few; nothing that a client can make up becomes one.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_REQUEST_SECONDS: Final = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0)
"""Fewer, since there is a series for each route."""


class RequestMetrics:
    """What is counted of HTTP requests."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "rejoinder_http_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "rejoinder_http_request_seconds",
            "From a request's head to the end of its answer, streams included.",
            ["route"],
            buckets=_REQUEST_SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge("rejoinder_http_requests_in_flight", "Requests being answered.", registry=registry)

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)


class GenerationMetrics:
    """What is counted where replies are drawn. `class` is `interactive` or `batch`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._queue_seconds = Histogram(
            "rejoinder_queue_seconds",
            "Time in the queue, until an engine took the request.",
            ["model", "class"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._first_seconds = Histogram(
            "rejoinder_first_token_seconds",
            "From a streamed request to its first token.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._total_seconds = Histogram(
            "rejoinder_generation_seconds",
            "From a request to the end of its replies, the queue included.",
            ["model", "class"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._tokens = Counter(
            "rejoinder_generated_tokens",
            "Tokens of the replies that were returned; candidates dropped by best_of are not counted.",
            ["model"],
            registry=registry,
        )
        self._context_tokens = Counter(
            "rejoinder_context_tokens", "Tokens of the histories that were read.", ["model"], registry=registry
        )
        self._outcomes = Counter(
            "rejoinder_generations",
            "Requests for replies by what came of them: answered, abandoned, or an error's code.",
            ["model", "class", "outcome"],
            registry=registry,
        )
        self._restarts = Counter(
            "rejoinder_engine_restarts", "Engines that died and were started again.", registry=registry
        )

    def began(self, model: str, urgency: str, seconds: float) -> None:
        """Count a request that left the queue after `seconds`."""
        self._queue_seconds.labels(model, urgency).observe(seconds)

    def first(self, model: str, seconds: float) -> None:
        """Count the first token of a streamed request, `seconds` after it came."""
        self._first_seconds.labels(model).observe(seconds)

    def answered(self, model: str, urgency: str, seconds: float, context_tokens: int, tokens: int) -> None:
        """Count an answered request."""
        self._outcomes.labels(model, urgency, "answered").inc()
        self._total_seconds.labels(model, urgency).observe(seconds)
        self._tokens.labels(model).inc(tokens)
        self._context_tokens.labels(model).inc(context_tokens)

    def ended(self, model: str, urgency: str, outcome: str) -> None:
        """Count a request that came to nothing."""
        self._outcomes.labels(model, urgency, outcome).inc()

    def restarted(self) -> None:
        """Count an engine that is started again."""
        self._restarts.inc()
