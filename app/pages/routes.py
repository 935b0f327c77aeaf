"""All pages: what people see in a browser. None of it is part of the described interface."""

from fastapi import APIRouter

from app.pages.chat.routes import router as chat_router
from app.pages.rating.routes import router as rating_router

router = APIRouter(include_in_schema=False)
for _pages in (chat_router, rating_router):
    router.include_router(_pages)
