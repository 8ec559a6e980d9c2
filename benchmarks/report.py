"""Results as Markdown."""

import math
from collections.abc import Iterable, Sequence

from tabulate import tabulate


def table(title: str, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table under its title."""
    align = ["left" if name and name[0].isupper() else "right" for name in headers]
    text = tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True, colalign=align)
    print(f"\n### {title}\n\n{text}\n", flush=True)


def expected(what: str, found: str, met: bool) -> None:
    """Print an expectation, what was found, and whether it is met."""
    print(f"- Expected {what}: {found}, {'met' if met else '**missed**'}.", flush=True)


def milliseconds(seconds: float) -> str:
    """Format a time, to the microsecond."""
    return "" if math.isnan(seconds) else f"{seconds * 1e3:,.3f} ms"


def percent(share: float, sign: str = "") -> str:
    """Format a share; with "+", it always has a sign."""
    return f"{share:{sign}.1%}"
