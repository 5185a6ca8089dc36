"""The report, as the Markdown in docs/performance.md."""

import platform
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

OURS = "cc-gateway"


@dataclass
class Figure:
    """Medians by server, and the targets of cc-gateway's: `against` another server at most so many times its median, at
    most so much `over` it, at `most` or at `least` a value. `beyond` is a stricter `against` that is worth reaching,
    too."""

    name: str
    unit: str
    medians: dict
    against: list = field(default_factory=list)
    over: list = field(default_factory=list)
    beyond: list = field(default_factory=list)
    most: float = None
    least: float = None
    # Whether 1 / median, the number in a CPU second, is shown too.
    per_second: bool = False

    def targets(self):
        """For each target: what it is, what was measured, and whether it is met (None: a server of it is missing)."""
        ours = self.medians.get(OURS)
        limits = [(f"at most {times} × {other}", other, times, 0) for other, times in self.against]
        limits += [(f"beyond that {times} × {other}", other, times, 0) for other, times in self.beyond]
        limits += [(f"at most {more} {self.unit} over {other}", other, 1, more) for other, more in self.over]
        for target, other, times, more in limits:
            theirs = self.medians.get(other)
            if ours is None or theirs is None:
                yield target, "", None
                continue
            ratio = f"{ours / theirs:.2f} ×, " if more == 0 else ""
            yield target, f"{ratio}{number(ours)} to {self.quantity(theirs)}", ours <= times * theirs + more
        if self.most is not None and ours is not None:
            yield f"at most {self.quantity(self.most)}", self.quantity(ours), ours <= self.most
        if self.least is not None and ours is not None:
            yield f"at least {self.quantity(self.least)}", self.quantity(ours), ours >= self.least

    def quantity(self, value):
        """A value with its unit."""
        return f"{number(value)} {self.unit}".rstrip()

    def cell(self, server):
        """The median of a server."""
        value = self.medians.get(server)
        if value is None:
            return "-"
        return f"{number(value)} ({round(1e6 / value)}/s)" if self.per_second else number(value)


def number(value):
    """Three significant digits at most, and no exponent."""
    if value == int(value) or value >= 100:
        return str(round(value))
    return f"{value:.3g}"


def print_report(figures, others):
    """Two tables: the figures that have a target, and all that was measured. `others` is the part of the machine that
    was busy with something else."""
    quiet = "otherwise idle" if others < 0.05 else f"{others:.0%} busy with other work"
    print(f"Measured on {time.strftime('%Y-%m-%d')}: {machine()}, {quiet}.\n")
    rows = [(figure.name, *target) for figure in figures for target in figure.targets()]
    if rows:
        print_table(["figure", "to reach", "measured", ""], [[*row[:3], verdict(row[3])] for row in rows])
        print()
    servers = list(dict.fromkeys(name for figure in figures for name in figure.medians))
    cells = [[f"{figure.name}, {figure.unit}".removesuffix(", "), *map(figure.cell, servers)] for figure in figures]
    print_table(["medians", *servers], cells)


def print_table(head, rows):
    """A Markdown table."""
    for row in (head, ["---"] * len(head), *rows):
        print(f"| {' | '.join(row)} |")


def verdict(met):
    """Whether a target is met, in a word."""
    return {True: "met", False: "**missed**", None: "not measured"}[met]


def machine():
    """The kind of machine."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    cores = len(re.findall(r"^processor", Path("/proc/cpuinfo").read_text(), re.MULTILINE))
    kernel = ".".join(platform.release().split(".")[:2])
    return f"{model[1] if model else platform.machine()}, {cores} cores, Linux {kernel}"
