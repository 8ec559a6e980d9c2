"""How a request can end: the status of its response, or a kind of failure."""

FAILURES = {
    "timeout": "no response in time",
    "refused": "the connection was refused",
    "reset": "the connection was reset",
    "closed": "the connection was closed before the response was complete",
    "tls": "TLS failed",
    "dns": "the host name could not be resolved",
    "unreachable": "the host is unreachable",
    "check": "the response failed its check",
    "protocol": "the response was not HTTP",
    "failed": "no response; the generator does not say why",
    "filehandles": "the generator ran out of file handles",
    "ports": "the generator ran out of ports",
}
"""The kinds of failure. Every other outcome is the status of a response: digits, capitals ("SERVING"), or where a
generator only reports the class of a status, that ("2xx")."""


def is_answer(outcome: str) -> bool:
    """Return whether an outcome is the status of a response, and not a kind of failure."""
    return outcome[:1].isdigit() or outcome.isupper()
