"""What `rejoinder doctor` does."""

import json
from collections.abc import Iterator
from typing import Any

from app.doctor.findings import Finding, fail, warn
from app.doctor.installation import look_at_devices, look_at_packages, look_at_python
from chatbot.errors import RejoinderError


def doctor(*, as_json: bool, **given: Any) -> tuple[str, bool]:
    """Return what to say, and whether all is well enough to serve; settings that are None come from the environment."""
    findings = list(_findings(given))
    well = all(finding.status != "fail" for finding in findings)
    if as_json:
        said = json.dumps({"ok": well, "findings": [finding.json() for finding in findings]}, ensure_ascii=False)
    else:
        said = "\n".join(finding.line() for finding in findings)
    return said, well


def _findings(given: dict[str, Any]) -> Iterator[Finding]:
    yield look_at_python()
    yield from look_at_packages()
    try:
        from app.commands import read_settings, with_models
        from app.doctor import service

        settings = with_models(read_settings(**given))
    except ModuleNotFoundError as error:
        yield from look_at_devices(given.get("device") or "auto")
        yield warn(
            "service", f"not installed ({error.name} is missing); training works", "pip install 'rejoinder[serve]'"
        )
        return
    except RejoinderError as error:
        yield from look_at_devices(given.get("device") or "auto")
        yield fail("settings", str(error), "correct it; `app/settings.py` says what each setting takes")
        return
    yield from look_at_devices(settings.device)
    yield from service.look_at_settings(settings, {name for name, value in given.items() if value is not None})
    yield from service.look_at_models(settings)
    yield service.look_at_state(settings)
    yield service.look_at_database(settings)
    yield service.look_at_port(settings)
