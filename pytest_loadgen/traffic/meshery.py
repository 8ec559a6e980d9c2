"""Meshery's performance profiles and Service Mesh Performance (SMP) tests, as options of `load`.

Keys may be in snake_case, the old spelling, in camelCase, the new one, or in lower case, as mesheryctl prints them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_loadgen.errors import PlanError
from pytest_loadgen.traffic.request import Request, named_apart, request
from pytest_loadgen.wording import counted

_PROTOCOLS = {1: "http", 2: "tcp", 3: "udp", 4: "grpc"}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
# Values whose keys are the user's own, and must not be converted.
_AS_IS = {"headers", "cookies", "requestHeaders", "requestCookies", "requestBody", "additionalOptions", "labels"}
# A body has up to a mebibyte.
_LARGEST = 4 << 20
_LONGEST = 1_000
_LONGEST_DURATION = 100
_MOST_MERGED = 20
_MOST_KEYS = 10_000
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Imported:
    """An imported file, as options of `load`."""

    traffic: str | list[Request]
    """The address, or the requests where there are several endpoints."""
    options: dict[str, Any]
    authority: str = ""
    """The CA certificates to trust (PEM)."""
    remarks: list[str] = field(default_factory=list)
    """The unsupported parts of the file, a sentence each."""


def read(path: Path) -> Imported:
    """Read a JSON or YAML file. Raises PlanError where it is neither a profile nor a test."""
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        raise PlanError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    if len(text) > _LARGEST:
        raise PlanError(f"{path} is too large for a Meshery file: it has more than {_LARGEST:,} characters")
    document = _parsed(path, text)
    try:
        document = _canonical(document, {})
        # A list is what `mesheryctl perf profile` prints; Meshery's API returns a page of profiles.
        profiles = document if isinstance(document, list) else _get(document, "profiles", [])
        if isinstance(profiles, list) and profiles and all(isinstance(each, Mapping) for each in profiles):
            return _profile(profiles[0], _several(profiles, "profiles"))
        if not isinstance(document, Mapping):
            raise PlanError(
                "neither a Meshery performance profile nor an SMP test: it must be a mapping, or a list of profiles"
            )
        if "endpoints" in document:
            return _profile(document, [])
        if "test" in document or "clients" in document:
            return _test(document.get("test", document))
    except PlanError as error:
        raise PlanError(f"{path}: {error}") from None
    except RecursionError:
        raise PlanError(f"{path} is not a valid Meshery file: it is nested too deeply, or contains itself") from None
    except (ArithmeticError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise PlanError(f"{path} is not a valid Meshery file ({type(error).__name__}: {error})") from None
    raise PlanError(f"{path} is neither a Meshery performance profile (endpoints) nor an SMP test (test, clients)")


def _parsed(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        pass
    except RecursionError:
        raise PlanError(f"{path} is not a valid Meshery file: it is nested too deeply") from None
    try:
        import yaml
    except ImportError:
        raise PlanError(
            f"{path} is not JSON, and reading YAML needs PyYAML: pip install 'pytest-loadgen[meshery]'"
        ) from None

    class Loader(yaml.SafeLoader):
        """Says where a value is that cannot be read, and merges no more than a person would write."""

        def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
            if isinstance(node, yaml.ScalarNode) and not node.tag.endswith(":str") and len(node.value) > _LONGEST:
                # Reading a number takes the square of its length.
                raise yaml.constructor.ConstructorError(problem="a number is too long", problem_mark=node.start_mark)
            try:
                return super().construct_object(node, deep)
            except (yaml.YAMLError, RecursionError):
                raise
            except Exception as error:
                raise yaml.constructor.ConstructorError(
                    problem=f"{node.tag.rpartition(':')[2]}: {error}", problem_mark=node.start_mark
                ) from None

        def flatten_mapping(self, node: yaml.MappingNode) -> None:
            for key, value in node.value:
                if key.tag.endswith(":merge") and len(value.value) > _MOST_MERGED:
                    raise _too_much(node)
            super().flatten_mapping(node)
            if len(node.value) > _MOST_KEYS:
                raise _too_much(node)

    def _too_much(node: yaml.Node) -> Exception:
        return yaml.constructor.ConstructorError(problem="too many keys are merged", problem_mark=node.start_mark)

    try:
        return yaml.load(text, Loader)  # noqa: S506  # a safe one
    except RecursionError:
        raise PlanError(f"{path} is not a valid Meshery file: it is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        raise PlanError(f"{path} is neither JSON nor YAML: {error}") from None


def _profile(profile: Mapping[str, Any], remarks: list[str]) -> Imported:
    metadata = _mapping(profile.get("metadata"))
    more = _mapping(metadata.get("additionalOptions"))
    return _imported(
        endpoints=profile["endpoints"],
        rate=_get(profile, "qps", 0),
        connections=_get(profile, "concurrentRequest", 1),
        duration=profile["duration"],
        generators=_get(profile, "loadGenerators", []),
        headers=_mapping(profile.get("requestHeaders")),
        cookies=_mapping(profile.get("requestCookies")),
        body=_get(profile, "requestBody", ""),
        content_type=_get(profile, "contentType", ""),
        more=more,
        authority=_get(_mapping(metadata.get("caCertificate")), "file", ""),
        remarks=[*remarks, *_unknown(profile)],
    )


def _test(test: Mapping[str, Any]) -> Imported:
    clients = test["clients"]
    client = clients[0]
    endpoints = _strings(client.get("endpointUrls") or client["endpointUrl"], "endpoints")
    protocol = _get(client, "protocol", "http")
    protocol = _PROTOCOLS.get(protocol, "") if isinstance(protocol, int) else protocol.lower()
    if protocol not in _PROTOCOLS.values():
        raise PlanError(f"protocol {client.get('protocol')!r}: must be http, tcp, udp or grpc")
    if protocol != "http":
        endpoints = [re.sub(r"^[a-z]+://", "", each) for each in endpoints]
        endpoints = [f"{protocol}://{each.rstrip('/')}" for each in endpoints]
    return _imported(
        endpoints=endpoints,
        rate=_get(client, "rps", 0),
        connections=_get(client, "connections", 1),
        duration=test["duration"],
        generators=[client["loadGenerator"]] if client.get("loadGenerator") else [],
        headers=_mapping(client.get("headers")),
        cookies=_mapping(client.get("cookies")),
        body=_get(client, "body", ""),
        content_type=_get(client, "contentType", ""),
        more=_mapping(client.get("additionalOptions")),
        authority=_get(client, "sslCertificate", ""),
        remarks=[*_several(clients, "clients"), *_unknown(test), *_unknown(client)],
    )


def _imported(
    *,
    endpoints: Any,
    rate: Any,
    connections: Any,
    duration: str,
    generators: Any,
    headers: dict[str, Any],
    cookies: dict[str, Any],
    body: str,
    content_type: str,
    more: dict[str, Any],
    authority: str,
    remarks: list[str],
) -> Imported:
    """Translate to options of `load`; a missing value has Meshery's default."""
    endpoints, generators = _strings(endpoints, "endpoints"), _strings(generators, "load generators")
    if not endpoints:
        raise PlanError("endpoints: at least one is required")
    options: dict[str, Any] = {
        "rate": _number(rate, "rate") or "max",
        "connections": max(1, int(_number(connections, "number of connections"))),
        "duration": go_seconds(duration),
    }
    if content_type:
        headers = {**headers, "Content-Type": content_type}
    given = {"headers": headers, "cookies": cookies, "content": body, "method": more.pop("MethodOverride", "")}
    options.update({name: value for name, value in given.items() if value})
    if generators:
        options["generator"] = generators[0]
    ignored = [f"the option {name} is not supported and was ignored." for name in sorted(more)]
    for name, text in (("certificate", authority), ("content type", content_type), ("body", body)):
        if not isinstance(text, str):
            raise PlanError(f"{name} {text!r}: must be a string")
    notes = [*remarks, *_several(generators, "load generators"), *ignored]
    mine = [url for url in dict.fromkeys(endpoints) if _service(url) == _service(endpoints[0])]
    if len(mine) == 1 or not endpoints[0].startswith("http"):
        return Imported(endpoints[0], options, authority, [*notes, *_several(endpoints, "endpoints")])
    if others := len(set(endpoints)) - len(mine):
        notes.append(f"a load is of one service: {counted(others, 'endpoint')} of others will not be loaded.")
    own = {name: options.pop(name) for name in ("content", "method") if name in options}
    method = own.pop("method", "POST" if own else "GET")
    return Imported(named_apart([request(method, url, **own) for url in mine]), options, authority, notes)


def _service(url: str) -> str:
    return re.match("(?:[^:/]+://)?[^/?#]*", url)[0].lower()  # type: ignore[index]  # everything matches


def _strings(values: Any, what: str) -> list[str]:
    """Read a list of strings, or one string."""
    values = [values] if isinstance(values, str) else values
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise PlanError(f"{what} {values!r}: must be a list of strings")
    return values


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise PlanError(f"{what} {value!r}: must be a number >= 0")
    return value


def go_seconds(text: str) -> float:
    """Return the seconds of a duration in Go's format: ``1m30s``, ``1.5h``. Raises PlanError."""
    # finditer() would take the square of the length.
    pieces = list(_DURATION.finditer(text)) if len(text) <= _LONGEST_DURATION else []
    if not pieces or "".join(piece[0] for piece in pieces) != text.strip():
        raise PlanError(f"duration {text[:40]!r}: must be in Go's format ('30s', '1m30s')")
    return sum(float(piece[1]) * _SECONDS[piece[2]] for piece in pieces)


def _mapping(value: Any) -> dict[str, Any]:
    """Read a mapping, which may be missing or written as a string of JSON."""
    if isinstance(value, str):
        value = json.loads(value) if value.strip() else {}
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise PlanError(f"{value!r}: must be a mapping")
    return dict(value)


def _several(values: list[Any], what: str) -> list[str]:
    return [f"only the first of {len(values)} {what} is used."] if len(values) > 1 else []


def _get(mapping: Mapping[str, Any], key: str, default: Any) -> Any:
    """Give a value, or its default where it is missing or null, as Go writes what is not set."""
    value = mapping.get(key)
    return default if value is None else value


def _unknown(mapping: Mapping[str, Any]) -> list[str]:
    """Name the unknown keys: a typo would change the load."""
    return [f"the key {key!r} is unknown and was ignored." for key in mapping if key not in _KNOWN.values()]


_USED = """
    endpoints loadGenerators concurrentRequest qps duration requestHeaders requestCookies requestBody contentType
    metadata additionalOptions caCertificate file test clients loadGenerator protocol connections rps headers cookies
    body endpointUrls endpointUrl sslCertificate profiles
"""
_NOT_OF_THE_LOAD = """
    id name owner userId user schedule serviceMesh mesh lastRun totalResults createdAt updatedAt deletedAt internal
    labels smpVersion smpsVersion certName testId performanceProfile runnerResults page pageSize totalCount
"""
# mesheryctl prints keys in lower case, older versions in snake_case.
_KNOWN = {name.lower(): name for name in f"{_USED} {_NOT_OF_THE_LOAD}".split()}


def _canonical(value: Any, known: dict[int, Any]) -> Any:
    """Spell the format's own keys in camelCase; a value shared by several places is converted once."""
    if id(value) not in known:
        if isinstance(value, list):
            known[id(value)] = [_canonical(each, known) for each in value]
        elif isinstance(value, Mapping):
            known[id(value)] = dict(_pairs(value, known))
        else:
            return value
    return known[id(value)]


def _pairs(mapping: Mapping[str, Any], known: dict[int, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        name = _KNOWN.get(str(key).replace("_", "").lower(), str(key))
        yield name, value if name in _AS_IS else _canonical(value, known)
