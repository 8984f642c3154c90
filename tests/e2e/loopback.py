"""What the scenarios on loopback share (`origins`, `tracker`): bars, waiting, and the command line."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path


class Failed(Exception):
    """A bar does not hold, or a program did not do what the scenario needs."""


def check(what: str, holds: bool, seen: object) -> None:
    if not holds:
        raise Failed(f"{what}; seen: {seen}")


def wait_for(what: str, seconds: float, holds, child=None):
    """What `holds` gives, as soon as that is true; not if `child` ends before."""
    end = time.monotonic() + seconds
    while True:
        value = holds()
        if value:
            return value
        if child is not None and child.poll() is not None:
            raise Failed(f"{what}: the program has ended with {child.returncode}")
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(0.05)


class Place:
    """Where one scenario keeps its files and logs, and the binary it tries."""

    def __init__(self, options: argparse.Namespace, name: str):
        self.pcdn = Path(options.pcdn).resolve()
        self.directory = Path(options.directory) / name
        self.directory.mkdir()
        self.logs = Path(options.logs) / name if options.logs else None
        if self.logs:
            self.logs.mkdir(parents=True, exist_ok=True)


def run(program: str, description: str, scenarios: dict[str, Callable[[Place], dict]]) -> int:
    """Runs what the command line asks for: a line of JSON for each scenario, a summary; gives the exit status."""
    options = argparse.ArgumentParser(prog=program, description=description, epilog="Scenarios: " + ", ".join(scenarios))
    options.add_argument("--only", metavar="NAME[,NAME]", help="only these scenarios")
    options.add_argument("--pcdn", default="target/release/pcdn", help="the binary")
    options.add_argument("--logs", metavar="DIR", help="keep the logs of all processes here")
    options.add_argument("--directory", help=argparse.SUPPRESS)
    options = options.parse_args()
    for name in list(os.environ):
        # A proxy or a setting of the caller's means nothing here.
        if name.lower().endswith("_proxy") or name.startswith("PCDN_"):
            del os.environ[name]
    names = options.only.split(",") if options.only else list(scenarios)
    unknown = [name for name in names if name not in scenarios]
    if unknown or not os.access(options.pcdn, os.X_OK):
        print(f"{program}: no scenario {unknown}" if unknown else f"{program}: no program {options.pcdn}", file=sys.stderr)
        return 2
    results = [_run_one(options, name, scenarios[name]) for name in names]
    print(f"{sum(results)} of {len(results)} passed", file=sys.stderr)
    return 0 if all(results) else 1


def _run_one(options: argparse.Namespace, name: str, scenario: Callable[[Place], dict]) -> bool:
    began, line = time.monotonic(), {"scenario": name, "pass": True}
    try:
        line["figures"] = scenario(Place(options, name))
    except Exception as error:
        if not isinstance(error, Failed):
            traceback.print_exc()
        line |= {"pass": False, "error": f"{type(error).__name__}: {error}"}
    line["took_s"] = round(time.monotonic() - began, 1)
    print(json.dumps(line), flush=True)
    print(f"{'ok  ' if line['pass'] else 'FAIL'} {name} {line['took_s']} s {line.get('error', '')}", file=sys.stderr, flush=True)
    return line["pass"]
