"""What is installed: Python, the packages and their bounds, torch and its devices. Needs nothing of the service's."""

import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Final

from app.doctor.findings import Finding, fail, ok, warn

NEWEST_PYTHON: Final = (3, 13)
"""That `make setup` looks for; older than 3.11 does not get here, since it cannot read this program."""
_EXTRAS: Final = {"serve": "the service", "train": "training"}


def look_at_python() -> Finding:
    """Say which Python runs."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] > NEWEST_PYTHON:
        said = "tests ran with Python 3.11 to " + ".".join(map(str, NEWEST_PYTHON))
        return warn("python", version, f"{said}; choose one of them if something fails")
    return ok("python", version)


def look_at_packages() -> Iterator[Finding]:
    """Compare what is installed with the lower bounds that Rejoinder names, for its core and each way to use it."""
    try:
        from packaging.requirements import Requirement
    except ModuleNotFoundError:
        yield warn("packages", "packaging is not installed, so no versions are compared", "pip install packaging")
        return
    try:
        named = [Requirement(one) for one in metadata.requires("rejoinder") or []]
    except metadata.PackageNotFoundError:
        yield warn("packages", "Rejoinder itself is not installed, so its bounds are not known", "pip install -e .")
        return
    for extra, use in {"": "the core", **_EXTRAS}.items():
        wanted = [one for one in named if _belongs(one.marker, extra)]
        missing, wrong = [], []
        for one in wanted:
            try:
                found = metadata.version(one.name)
            except metadata.PackageNotFoundError:
                missing.append(one.name)
                continue
            if not one.specifier.contains(found, prereleases=True):
                wrong.append(f"{one.name} {found} (needs {one.specifier})")
        name = f"packages for {use}"
        again = f"pip install --upgrade 'rejoinder[{extra}]'" if extra else "pip install --upgrade rejoinder"
        if wrong:
            yield fail(name, "too old or too new: " + ", ".join(wrong), again)
        elif missing and not extra:
            yield fail(name, "missing: " + ", ".join(missing), again)
        elif missing:
            yield warn(name, "missing: " + ", ".join(missing), f"to use it: {again}")
        else:
            yield ok(name, f"{len(wanted)} packages, all within their bounds")


def look_at_devices(device: str) -> Iterator[Finding]:
    """Say what there is to compute with, and whether the device that was asked for is among it."""
    try:
        from chatbot.machine import look_at_machine
    except Exception as error:  # torch fails in many ways when it does not fit the machine
        advice = "install the build of torch for this machine: pip install torch"
        yield fail("torch", f"cannot be imported ({type(error).__name__}: {error})", advice)
        return
    machine = look_at_machine()
    yield ok("torch", f"{machine.torch}, built for {machine.built_for}, {machine.cores} cores")
    if machine.gpus:
        yield ok("devices", "; ".join(machine.gpus))
    elif device.startswith("cuda"):
        yield fail("devices", f"the device {device!r} is asked for and no GPU is seen", "choose --device cpu or auto")
    elif machine.built_for != "cpu":
        yield warn(
            "devices",
            f"torch is built for CUDA {machine.built_for} and sees no GPU",
            "without one PyTorch's build for CPUs does the same in a tenth of the space; with one, check its driver",
        )
    else:
        yield ok("devices", "cpu")


def _belongs(marker: object, extra: str) -> bool:
    """Say whether a requirement is one of `extra` on this machine; of the core with none."""
    if marker is None:
        return not extra
    return bool(extra) and marker.evaluate({"extra": extra})  # type: ignore[attr-defined] # a Marker
