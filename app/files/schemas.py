"""The JSON of files: OpenAI's field names."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.wire import Text

Order = Literal["asc", "desc"]


class FileEntry(BaseModel):
    """A file."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"


class FileList(BaseModel):
    """A page of the files."""

    object: Literal["list"] = "list"
    data: list[FileEntry]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedFile(BaseModel):
    """What is left of a file."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


class FilesQuery(BaseModel):
    """Which page of the files."""

    model_config = ConfigDict(extra="forbid")

    purpose: Annotated[Text, Field(max_length=64)] | None = None
    limit: Annotated[int, Field(ge=1, le=10_000)] = 10_000
    after: Annotated[Text, Field(max_length=64)] | None = None
    order: Order = "desc"
