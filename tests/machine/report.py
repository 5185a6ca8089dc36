"""The results: a row for each scenario, and the table of all of them."""

import contextlib
import datetime
import os
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

HEAD = "| scenario | client | health | recovery | verdict |\n| --- | --- | --- | --- | --- |\n"


@dataclass
class Row:
    """One scenario. Each check that does not hold is added to `faults`."""

    scenario: str
    client: str = ""
    health: str = ""
    recovery: str = ""
    faults: list[str] = field(default_factory=list)

    def check(self, holds: object, otherwise: str) -> bool:
        if not holds:
            self.faults.append(otherwise)
        return bool(holds)

    def line(self) -> str:
        verdict = "**failed**: " + "; ".join(self.faults) if self.faults else "passed"
        cells = (self.scenario, self.client, self.health, self.recovery, verdict)
        return "| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |\n"


class Report:
    """The rows of all scenarios, in the order in which they ended."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.lock = threading.Lock()
        self.begun = time.monotonic()

    def add(self, row: Row) -> None:
        with self.lock:
            self.rows.append(row)
        state = "FAILED" if row.faults else "passed"
        told = ", ".join(cell for cell in (row.client, row.health, row.recovery, *row.faults) if cell)
        print(f"[{time.monotonic() - self.begun:5.0f} s] {state}: {row.scenario}: {told}", flush=True)

    @contextlib.contextmanager
    def scenario(self, name: str) -> Iterator[Row]:
        """A scenario, whose row is added at its end. An exception fails only this scenario."""
        row = Row(name)
        try:
            yield row
        except Exception as error:  # noqa: BLE001
            where = traceback.extract_tb(error.__traceback__)[-1]
            row.faults.append(f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})")
        self.add(row)

    @property
    def failed(self) -> int:
        return sum(bool(row.faults) for row in self.rows)

    def write(self, path: Path, version: str, accel: str) -> None:
        """The table in markdown, with what was tested and how busy the processor was."""
        minutes = (time.monotonic() - self.begun) / 60
        date = datetime.datetime.now(tz=datetime.UTC).date()
        path.write_text(
            f"{version}, {date}; machines by {accel}; {minutes:.0f} minutes; "
            f"load of the host at the end {os.getloadavg()[1]:.1f} on {os.cpu_count()} processors.\n\n"
            + HEAD + "".join(row.line() for row in self.rows))
