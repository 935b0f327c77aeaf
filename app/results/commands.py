"""What `rejoinder study results` and `rejoinder leaderboard` do."""

from typing import Any

from app.commands import opened, read_settings
from app.results import service
from chatbot.errors import RejoinderError


def results(slug: str | None, *, json: bool, again: int | None, **where: Any) -> str:
    """Return the results of a study, or of all of them for None, as a table or as JSON; `again` makes one anew.

    Raises RejoinderError when an analysis made again is not what it was.
    """
    with opened(read_settings(**where)) as database:
        if again is not None:
            stored = service.study_results(database, slug, again) if slug else service.leaderboard(database, again)
            _, same = service.run_again(database, again)
            if not same:
                made_by = stored.run.code_version
                raise RejoinderError(f"analysis {again}, of {made_by}, gives other numbers when it is made again")
            return f"analysis {again}: made again, the same in every byte"
        analysis = service.study_results(database, slug) if slug else service.leaderboard(database)
        if analysis.is_new:
            with database.writing() as session:
                service.keep(session, analysis)
        found = analysis.entry()
    return service.as_json(found).decode() if json else _table(found)


def _table(found: dict[str, Any]) -> str:
    lines = [
        f"{found.get('study', 'all studies')}: {found['measure']} with 95 % intervals, analysis {found['analysis']}"
    ]
    width = max([len(one["name"]) for one in found["systems"]], default=0)
    for one in sorted(found["systems"], key=lambda one: (one["rank"] is None, one["rank"] or 0, one["name"])):
        rank = "-" if one["rank"] is None else str(one["rank"])
        line = f"{rank:>3}  {one['name']:<{width}}  "
        if one["low"] is None:
            line += f"{one['standing']:<25}"
        else:
            line += f"{one['strength']:+7.3f} [{one['low']:+.3f}, {one['high']:+.3f}]"
        lines.append(f"{line}  {one['judgements']} judgements")
    raters = found["raters"]
    lines.append(f"{raters['judged']} raters, {raters['excluded']} excluded by the stated rules")
    return "\n".join([*lines, *(f"note: {warning}" for warning in found["warnings"])])
