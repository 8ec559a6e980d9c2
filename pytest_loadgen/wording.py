"""How messages write counts, outcomes, proposals and how programs ended."""

import signal
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

_MOST_LISTED = 5


def counted(count: int, noun: str) -> str:
    """Write a count with its noun: ``1 error``, ``1,000 requests``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def tally(outcomes: Mapping[str, int]) -> str:
    """Write outcomes with their counts: ``41 × 503, 4 × timeout``."""
    return ", ".join(f"{count:,} × {outcome}" for outcome, count in outcomes.items())


def listed(texts: Sequence[str]) -> str:
    """Write the first few items of a list: ``a, b, c, d, e and 3 more``."""
    more = f" and {len(texts) - _MOST_LISTED:,} more" if len(texts) > _MOST_LISTED else ""
    return f"{', '.join(texts[:_MOST_LISTED])}{more}"


def changed(name: str, then: object, now: object) -> str:
    """Write what something was and is: ``cores were 4, now 2``."""
    return f"{name} {'were' if name.endswith('s') or ' and ' in name else 'was'} {then}, now {now}"


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Propose the nearest known word, or list all of them; from the cutoff (0 to 1) on, words are near."""
    from difflib import get_close_matches

    words = sorted(known)
    near = get_close_matches(word, words, n=1, cutoff=cutoff)
    return f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(words)}."


def printable(text: str) -> str:
    """Return text from elsewhere on one line, with its control characters (terminals obey them) as escapes."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def one_line(text: str) -> str:
    """Return text from elsewhere on one line: as `printable`, and each run of white space as a space."""
    return printable(" ".join(text.split()))


def describe_exit(status: int) -> str:
    """Describe how a program ended."""
    if status >= 0:
        return f"ended with exit status {status}"
    with suppress(ValueError):
        return f"was killed by {signal.Signals(-status).name}"
    return f"was killed by signal {-status}"
