"""What the service needs: settings, models, the state directory, the database, the port. Changes none of it."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from app.commands import open_port
from app.database import open_engine
from app.doctor.findings import Finding, fail, ok, warn
from app.health import fault_of_folder
from app.migration import newest_revision, revision_of, revisions
from app.settings import Settings, secrets_folder
from chatbot.errors import RejoinderError
from chatbot.models_directory import bundles_in

_PREFIX: Final = "REJOINDER_"
_OTHER_VARIABLES: Final = frozenset({"REJOINDER_SECRETS_DIR"})
_SECONDS: Final = 5


def look_at_settings(settings: Settings, given: set[str]) -> Iterator[Finding]:
    """Say what was set and where; `given` are those of the command line. What is secret is not told."""
    environment = {name.upper() for name in os.environ}
    folder = secrets_folder()
    said = []
    for name, field in type(settings).model_fields.items():
        variable = f"{_PREFIX}{name.upper()}"
        if name in given:
            source = "command line"
        elif variable in environment:
            source = f"environment, {variable}"
        elif (folder / variable.lower()).is_file():
            source = f"{folder / variable.lower()}"
        else:
            continue
        value = getattr(settings, name)
        said.append(f"{name} = {value if field.repr else '(secret)'} ({source})")
    yield ok("settings", "; ".join(said) or "all at their defaults")
    known = {f"{_PREFIX}{name.upper()}" for name in type(settings).model_fields} | _OTHER_VARIABLES
    if strange := sorted(name for name in environment if name.startswith(_PREFIX) and name not in known):
        yield warn(
            "settings", "not known: " + ", ".join(strange), "correct or remove them: nothing reads these variables"
        )


def look_at_models(settings: Settings) -> Iterator[Finding]:
    """Load every bundle strictly, as the engines would, and say how it computes."""
    folder = settings.models
    advice = "train one (`rejoinder train`), or name the directory above the bundles with --models"
    if not folder.is_dir():
        yield fail("models", f"{folder}: no such directory", advice)
        return
    from chatbot.bot import Bot

    bundles = bundles_in(folder)
    if not bundles:
        yield warn("models", f"{folder}: no bundle in it", advice)
    for path in bundles:
        try:
            bot = Bot.load(path, settings.device, settings.batch_size, settings.precision)
        except RejoinderError as error:
            yield fail(f"model {path.name}", str(error), "restore it from where it was trained, or move it away")
            continue
        ranks = "with a discriminator" if bot.has_discriminator else "without a discriminator"
        yield ok(f"model {path.name}", f"{bot.digest[:12]}, {bot.precision} on {bot.device}, {ranks}")


def look_at_state(settings: Settings) -> Finding:
    """Say whether the state directory can be written and has room."""
    fault = fault_of_folder(settings.state)
    if fault is not None:
        return fail("state", f"{settings.state.absolute()}: {fault}", "choose another with --state, or make room")
    there = "" if settings.state.exists() else ", will be made"
    return ok("state", f"{settings.state.absolute()}: can be written, has room{there}")


def look_at_database(settings: Settings) -> Finding:
    """Say whether the database answers and which schema it has."""
    try:
        url = sa.make_url(settings.database)
    except sa.exc.ArgumentError:
        return fail("database", "its URL cannot be read", "expected postgresql://USER:PASSWORD@HOST/NAME")
    shown = url.render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite":
        if url.database and not Path(url.database).exists():
            return ok("database", f"{shown}: will be made when the service starts")
    else:
        url = url.update_query_dict({"connect_timeout": str(_SECONDS)})
    try:
        engine = open_engine(url.render_as_string(hide_password=False))
        try:
            with engine.connect() as connection:
                revision = revision_of(connection)
        finally:
            engine.dispose()
    except (RejoinderError, sa.exc.SQLAlchemyError) as error:
        reason = (str(getattr(error, "orig", error)).strip().splitlines() or ["no reason given"])[0]
        return fail("database", f"{shown}: {reason}", "check that it runs, and REJOINDER_DATABASE_URL")
    if revision == newest_revision():
        return ok("database", f"{shown}: answers, schema {revision}")
    if revision in (None, *revisions()):
        found = "has no tables yet" if revision is None else f"has schema {revision}, newest is {newest_revision()}"
        return warn("database", f"{shown}: {found}", "`rejoinder migrate`; `serve` does it too when it starts")
    return fail("database", f"{shown}: has schema {revision}, which this version does not know", "upgrade Rejoinder")


def look_at_port(settings: Settings) -> Finding:
    """Say whether the port is free, or whether Rejoinder is what listens there."""
    name = f"{settings.host} port {settings.port}"
    try:
        open_port(settings.host, settings.port).close()
        return ok("port", f"{name}: free")
    except OSError as error:
        reason = error.strerror or str(error)
    reasons = _not_ready(settings)
    if reasons is None:
        return fail("port", f"{name}: {reason}", "choose another with --port, or end what listens there")
    if reasons:
        return warn("port", f"{name}: Rejoinder is there and not ready: {', '.join(reasons)}", "see its log")
    return ok("port", f"{name}: Rejoinder is there and ready")


def _not_ready(settings: Settings) -> list[str] | None:
    """Return why the Rejoinder that listens on the port is not ready; None when it is no Rejoinder."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)
    try:
        try:
            with urllib.request.urlopen(f"http://{host}:{settings.port}/health/ready", timeout=_SECONDS) as answer:
                body = answer.read()
        except urllib.error.HTTPError as error:
            body = error.read()
        report = json.loads(body)
        return [str(reason) for reason in report["reasons"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
