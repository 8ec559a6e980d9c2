"""How a request can end: the status of its response, or a kind of failure."""

FAILURES = {
    "timeout": "not answered in time",
    "refused": "the connection was refused",
    "reset": "the connection was reset",
    "closed": "the connection was closed before the answer was whole",
    "tls": "TLS failed",
    "dns": "the name could not be looked up",
    "unreachable": "no way to the host",
    "protocol": "the answer was not HTTP",
    "failed": "no answer came; the generator does not say why",
    "filehandles": "the generator ran out of file handles",
    "ports": "the generator ran out of ports",
}
"""The kinds of failure; every other outcome is the status of an answer: digits, or in capitals ("SERVING"), or
where a generator knows no more its class ("2xx")."""


def is_answer(outcome: str) -> bool:
    """Tell the status of an answer from a kind of failure."""
    return outcome[:1].isdigit() or outcome.isupper()
