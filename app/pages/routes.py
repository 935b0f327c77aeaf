"""All pages: what people see in a browser. None of it is part of the described interface."""

from fastapi import APIRouter

from app.pages.access.routes import router as access_router
from app.pages.arena.routes import router as arena_router
from app.pages.batches.routes import router as batches_router
from app.pages.board.routes import router as board_router
from app.pages.chat.routes import router as chat_router
from app.pages.models.routes import router as models_router
from app.pages.rating.routes import router as rating_router
from app.pages.reference.routes import router as reference_router
from app.pages.studies.routes import router as studies_router

router = APIRouter(include_in_schema=False)
for _pages in (
    access_router,
    chat_router,
    rating_router,
    board_router,
    studies_router,
    models_router,
    arena_router,
    batches_router,
    reference_router,
):
    router.include_router(_pages)
