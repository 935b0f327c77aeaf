"""What an export holds: its kinds, its columns, and how each column is written where there are no nested values."""

from typing import Final, Literal

Kind = Literal["judgements", "battles", "preference", "thumbs"]
Format = Literal["jsonl", "csv", "parquet"]

Content = Literal["text", "int", "bool", "messages", "texts", "system", "json"]
"""`messages`: [{"role", "content"}]; `system`: {"name", "kind", "weights_sha256", "decoding"}; `json`: anything."""

MEDIA_TYPES: Final[dict[Format, str]] = {
    "jsonl": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}

COLUMNS: Final[dict[Kind, dict[str, Content]]] = {
    "judgements": {
        "id": "int",
        "kind": "text",
        "study": "text",
        "item": "int",
        "purpose": "text",
        "gold": "json",
        "repeats": "int",
        "dimension": "text",
        "value": "int",
        "choice": "text",
        "side": "text",
        "blind": "bool",
        "dwell_ms": "int",
        "reasons": "texts",
        "comment": "text",
        "supersedes": "int",
        "superseded_by": "int",
        "rater": "text",
        "excluded": "bool",
        "withdrawn": "bool",
        "prompt": "messages",
        "source": "text",
        "split": "text",
        "reply_id_a": "text",
        "reply_a": "text",
        "system_a": "system",
        "reply_id_b": "text",
        "reply_b": "text",
        "system_b": "system",
        "created": "int",
    },
    "battles": {
        "id": "int",
        "model_a": "text",
        "model_b": "text",
        "winner": "text",
        "system_id_a": "int",
        "system_id_b": "int",
        "system_a": "system",
        "system_b": "system",
        "prompt": "messages",
        "reply_a": "text",
        "reply_b": "text",
        "study": "text",
        "item": "int",
        "purpose": "text",
        "rater": "text",
        "side": "text",
        "dwell_ms": "int",
        "excluded": "bool",
        "withdrawn": "bool",
        "created": "int",
    },
    "preference": {
        "prompt": "messages",
        "chosen": "messages",
        "rejected": "messages",
        "chosen_system": "system",
        "rejected_system": "system",
        "study": "text",
        "item": "int",
        "rater": "text",
        "created": "int",
    },
    "thumbs": {
        "prompt": "messages",
        "completion": "messages",
        "label": "bool",
        "reasons": "texts",
        "comment": "text",
        "system": "system",
        "reply_id": "text",
        "rater": "text",
        "created": "int",
    },
}
