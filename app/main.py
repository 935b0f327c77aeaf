"""The service put together. Nothing happens at import: `create_app` builds, and opens nothing before the app starts."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.concurrency import run_in_threadpool
from starlette.staticfiles import StaticFiles

from app import errors, health
from app.access.guard import AccessGuard, is_open
from app.access.upkeep import Upkeep
from app.arena.service import Arena
from app.batches.routes import router as batches_router
from app.batches.runs import BatchRuns
from app.batches.service import BatchService
from app.batches.work import BatchWork
from app.chat.guarding import Guard
from app.chat.routes import router as chat_router
from app.chat.service import ChatService
from app.completions.routes import router as completions_router
from app.database import Database
from app.engines import Engine, engines_for
from app.errors import ErrorBody
from app.exports.routes import router as exports_router
from app.files.routes import router as files_router
from app.files.service import FileService
from app.files.storage import Storage
from app.generation import Generation
from app.judging.routes import router as judging_router
from app.keys.keyring import Keyring
from app.middleware import BodyLimit
from app.migration import migrate_database
from app.models import Models
from app.monitoring.metrics import GenerationMetrics, RequestMetrics
from app.monitoring.routes import router as monitoring_router
from app.monitoring.service import Monitoring
from app.pages.access.routes import refuse
from app.pages.chat.service import PagesService
from app.pages.rendering import error_page
from app.pages.routes import router as pages_router
from app.rate_limits.counters import SharedCounters
from app.rate_limits.limiter import Limiter, limits_of
from app.raters.routes import router as raters_router
from app.ratings.routes import router as ratings_router
from app.request_log import RequestLog, request_ids
from app.results.routes import router as results_router
from app.security_headers import SecurityHeaders
from app.settings import Settings
from app.studies.filling import StudyFilling
from app.studies.routes import router as studies_router

STATIC = Path(__file__).parent / "pages" / "static"
UPLOADS = ["/v1/files", "/batches"]
"""What is posted here is read by its route, by a limit of its own."""


def build_generation(settings: Settings, engines: Sequence[Engine] | None = None) -> Generation:
    """Return the queue before `engines`, or before the engine processes that `settings` ask for; nothing is started."""
    return Generation(
        engines_for(settings) if engines is None else engines,
        Models(),
        capacity=settings.queue_capacity,
        lanes=settings.batch_size,
        patience=settings.patience,
        queue_seconds=settings.queue_seconds,
        silence_seconds=settings.silence_seconds,
        metrics=GenerationMetrics(CollectorRegistry()),
    )


def create_app(settings: Settings, generation: Generation | None = None, *, migrated: bool = False) -> FastAPI:
    """Return the service for `settings`; `generation` may have been started already, else the app starts it.

    The database is brought up to date at the start, unless the caller has `migrated` it.

    Starting it raises RejoinderError when the models or the database cannot be opened.
    """
    drawing = build_generation(settings) if generation is None else generation
    registry = drawing.metrics.registry

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if not migrated:
            await run_in_threadpool(migrate_database, settings.database)
        if not drawing.started:
            await drawing.start()
        database = Database(settings.database)
        app.state.models = drawing.models
        app.state.database = database
        app.state.generation = drawing
        app.state.leaving = False
        app.state.settings = settings
        app.state.chat = ChatService(drawing.models, drawing, database, settings, Guard.of(settings))
        app.state.filling = StudyFilling(app.state.chat, database)
        app.state.arena = Arena(app.state.chat, database)
        app.state.pages = PagesService(app.state.chat, database, settings)
        storage = Storage(settings.state / "files")
        app.state.files = FileService(storage, database, settings)
        work = BatchWork(app.state.chat, database, storage, settings)
        runs = BatchRuns(work, database, settings, lanes=drawing.lanes)
        app.state.batches = BatchService(database, work, runs)
        counters = SharedCounters()
        app.state.keyring = Keyring(database)
        app.state.limiter = Limiter(limits_of(settings), counters)
        upkeep = Upkeep(database, app.state.keyring, counters, app.state.limiter)
        if not is_open(settings):
            await upkeep.start()
        app.state.monitoring = monitoring = Monitoring(registry, drawing, database)
        try:
            yield
        finally:
            await upkeep.close()
            await monitoring.close()
            await runs.close()  # before the engines: what they answer with from here on is no answer to a line
            await drawing.stop()
            database.close()

    app = FastAPI(
        title="Rejoinder",
        summary="Talk to a reply generator of your own, and judge what it says.",
        lifespan=lifespan,
        # FastAPI's pages load their scripts from another host, which our Content-Security-Policy forbids.
        docs_url=None,
        redoc_url=None,
        responses={
            400: {"model": ErrorBody, "description": "The request cannot be read or met; `param` names the field."},
            "4XX": {"model": ErrorBody},
            "5XX": {"model": ErrorBody},
        },
    )
    errors.install(app, error_page)
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes, uploads=UPLOADS)
    app.add_middleware(AccessGuard, settings=settings, refuse=refuse)  # before a body is read
    app.add_middleware(SecurityHeaders)  # outside of both: a 413 or 401 carries the headers too
    app.add_middleware(RequestLog, metrics=RequestMetrics(registry))
    app.add_middleware(request_ids)  # added last: what is logged of a request has its id
    routers = (
        chat_router,
        completions_router,
        files_router,
        batches_router,
        ratings_router,
        studies_router,
        raters_router,
        judging_router,
        results_router,
        exports_router,
        health.router,
        monitoring_router,
        pages_router,
    )
    for router in routers:
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app
