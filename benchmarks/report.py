"""What a benchmark prints: Markdown, to be pasted as it is."""

import math
from collections.abc import Iterable, Sequence

from tabulate import tabulate


def table(title: str, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table under its title."""
    align = ["left" if name and name[0].isupper() else "right" for name in headers]
    text = tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True, colalign=align)
    print(f"\n### {title}\n\n{text}\n", flush=True)


def expected(what: str, found: str, met: bool) -> None:
    """Print what was expected, and whether it was so."""
    print(f"- Expected {what}: {found}, {'met' if met else '**missed**'}.", flush=True)


def milliseconds(seconds: float) -> str:
    """Write a time, to the microsecond."""
    return "" if math.isnan(seconds) else f"{seconds * 1e3:,.3f} ms"


def percent(share: float, sign: str = "") -> str:
    """Write a share; the sign "+" asks for one."""
    return f"{share:{sign}.1%}"
