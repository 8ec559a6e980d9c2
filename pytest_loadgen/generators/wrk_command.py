"""What wrk and wrk2 have in common."""

from __future__ import annotations

import resource
from abc import ABC
from collections.abc import Mapping, Sequence
from importlib import resources
from itertools import islice
from typing import ClassVar

from pytest_loadgen.errors import GeneratorError, PlanError
from pytest_loadgen.generators.command import Command
from pytest_loadgen.generators.process import query
from pytest_loadgen.traffic import feed
from pytest_loadgen.traffic.mix import LONGEST_PERIOD, period
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import Target

_HOOK = "wrk.lua"
# File handles that the program needs besides those of its connections.
_OTHER_FILES = 30
# The largest TLS record, in bytes; a new connection can always write as much at once.
_TLS_RECORD = 16_384
# Why neither can replace the other.
_LIMITATIONS = {"wrk": "cannot keep a rate", "wrk2": "only sends at a set rate"}
# Options that args may not contain, and what to use instead; -R, -U and a few others are wrk2's only.
_HEADERS = "headers="
_RESERVED = {
    "--threads": "workers=", "--connections": "connections=", "--duration": "duration=", "--script": "",
    "--rate": "rate=", "--header": _HEADERS, "--latency": "", "--u_latency": "", "--batch_latency": "",
    "-t": "workers=", "-c": "connections=", "-d": "duration=", "-s": "", "-R": "rate=", "-H": _HEADERS,
    "-U": "", "-L": "", "-B": "",
}  # fmt: skip


class WrkCommand(Command, ABC):
    """A program of the wrk family, with a Lua hook that supplies the request and reports the figures.

    Headers, body and path are in a file: everybody on the machine can read the arguments of a
    process. Neither program verifies certificates; the check of the service before each load does.
    """

    version_args = ("-v",)
    reserved_args: ClassVar = _RESERVED
    kind: ClassVar[str]
    """Which of the two it is, whatever the file is called."""

    def option(self, arg: str) -> str:
        """Return the option that an argument sets: a letter, perhaps with its value; a word, perhaps shortened."""
        if not arg.startswith("--"):
            return arg[:2]
        prefix = super().option(arg)
        return next((option for option in self.reserved_args if len(prefix) > 2 and option.startswith(prefix)), prefix)

    def path(self) -> str:
        """Find the program. Raises GeneratorError if it is the other one of the two."""
        return self._checked(super().path())

    def _checked(self, path: str) -> str:
        found = _identify(path)
        if found == self.kind:
            return path
        problem = f"is {found}, which {_LIMITATIONS[found]}" if found else f"is not {self.kind}"
        raise GeneratorError(
            f"{self.name}: {path} {problem}. Install {self.kind} ({self.install_hint}), "
            "or use --load-generator=embedded."
        )

    def files(self, plan: Plan) -> Mapping[str, bytes]:
        """Return the hook, and the files that it reads: each request, and the order in which they are sent."""
        target = plan.target
        address = target.address[0] if isinstance(target.address, tuple) else target.host.strip("[]")
        hook = resources.files(__package__).joinpath(_HOOK).read_bytes()
        requests = {f"request{number}": _request(each) for number, each in enumerate(plan.targets)}
        order = " ".join(map(str, _order(plan)))
        return {_HOOK: hook, **requests, "order": order.encode(), "address": address.encode()}

    def _argv(self, plan: Plan, *special: str, threads: int, connections: int) -> Sequence[str]:
        """Return the arguments that both take. Raises PlanError for what neither supports."""
        seconds, target = plan.duration, plan.target
        if not seconds.is_integer():
            raise PlanError(
                f"{self.name} supports whole seconds only (got {seconds}); choose duration and rounds accordingly"
            )
        if any(each.method == "HEAD" for each in plan.targets):
            raise PlanError(f"{self.name} does not support HEAD: it waits for a body, and those responses have none")
        if plan.is_mix:
            self._check_mix(plan)
        handles, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if connections + _OTHER_FILES > handles:
            raise PlanError(
                f"{self.name} needs a file handle for each of {connections:,} connections, and the limit is "
                f"{handles:,}: raise it (ulimit -n), or use fewer connections"
            )
        host = target.host.strip("[]")
        url = f"{target.scheme}://{f'[{host}]' if ':' in host else host}:{target.port}"
        common = ["-t", str(threads), "-c", str(connections), "-d", f"{seconds:.0f}s", "-s", _HOOK]
        return [*common, *special, *self.args, url]

    def _check_mix(self, plan: Plan) -> None:
        """Refuse a mix that cannot be sent correctly. Raises PlanError."""
        if (repeated := _period(plan)) > LONGEST_PERIOD:
            raise PlanError(
                f"{self.name} supports weights that repeat within {LONGEST_PERIOD:,} requests, and these repeat after "
                f"{repeated:,}: round them"
            )
        # If TLS cannot write a request at once, the program asks the hook again and gets the next request: the service
        # receives the beginning of one with the end of the other.
        large = (each.name for each in plan.mix if len(_request(each.target)) > _TLS_RECORD)
        if plan.target.tls and (name := next(large, "")):
            raise PlanError(
                f"{self.name} cannot send a mix over TLS in which a request is larger than {_TLS_RECORD:,} bytes, and "
                f"{name} is: use another generator (--load-generator=embedded)"
            )


def _identify(path: str) -> str:
    """Return which of the two a program is, by its usage message; or an empty string."""
    usage = query(path, "--help")
    if "--connections" not in usage:
        return ""
    return "wrk2" if "--rate" in usage else "wrk"


def _period(plan: Plan) -> int:
    return period([request.weight for request in plan.mix])


def _order(plan: Plan) -> list[int]:
    """Return the numbers of the requests in the order in which they are sent, until it repeats."""
    return list(islice(feed.order(plan), _period(plan))) if plan.is_mix else [0]


def _request(target: Target) -> bytes:
    """Return the bytes of the HTTP request."""
    head = [target.method.encode() + b" " + target.path + b" HTTP/1.1"]
    head += [name + b": " + value for name, value in target.headers]
    return b"\r\n".join(head) + b"\r\n\r\n" + target.body
