"""Meshery's performance profiles and Service Mesh Performance (SMP) tests, as options of `load`.

Keys may be in snake_case, the old spelling, or in camelCase, the new one.
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

_PROTOCOLS = {1: "http", 2: "tcp", 3: "udp", 4: "grpc"}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
# Values whose keys are the user's own, and must not be converted.
_AS_IS = {"headers", "cookies", "requestHeaders", "requestCookies", "requestBody", "additionalOptions", "labels"}
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Imported:
    """An imported file, as options of `load`."""

    url: str
    options: dict[str, Any]
    authority: str = ""
    """The CA certificates to trust (PEM)."""
    remarks: list[str] = field(default_factory=list)
    """The unsupported parts of the file, a sentence each."""


def read(path: Path) -> Imported:
    """Read a JSON or YAML file. Raises PlanError where it is neither a profile nor a test."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    document = _parsed(path, text)
    if not isinstance(document, Mapping):
        raise PlanError(f"{path} is neither a Meshery performance profile nor an SMP test: it must be a mapping")
    try:
        document = _camel(document, {})
        if profiles := document.get("profiles"):  # a page of profiles, as Meshery's API returns it
            return _profile(profiles[0], _several(profiles, "profiles"))
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
    try:
        import yaml
    except ImportError:
        raise PlanError(
            f"{path} is not JSON, and reading YAML needs PyYAML: pip install 'pytest-loadgen[meshery]'"
        ) from None
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise PlanError(f"{path} is neither JSON nor YAML: {error}") from None


def _profile(profile: Mapping[str, Any], remarks: list[str]) -> Imported:
    metadata = _mapping(profile.get("metadata"))
    more = _mapping(metadata.get("additionalOptions"))
    return _imported(
        endpoints=profile["endpoints"],
        rate=profile.get("qps", 0),
        connections=profile.get("concurrentRequest", 1),
        duration=profile["duration"],
        generators=profile.get("loadGenerators", []),
        headers=_mapping(profile.get("requestHeaders")),
        cookies=_mapping(profile.get("requestCookies")),
        body=profile.get("requestBody", ""),
        content_type=profile.get("contentType", ""),
        more=more,
        authority=_mapping(metadata.get("caCertificate")).get("file", ""),
        remarks=remarks,
    )


def _test(test: Mapping[str, Any]) -> Imported:
    clients = test["clients"]
    client = clients[0]
    endpoints = client.get("endpointUrls") or [client["endpointUrl"]]
    protocol = client.get("protocol", "http")
    protocol = _PROTOCOLS.get(protocol, "") if isinstance(protocol, int) else protocol.lower()
    if protocol not in _PROTOCOLS.values():
        raise PlanError(f"protocol {client.get('protocol')!r}: must be http, tcp, udp or grpc")
    if protocol != "http":
        endpoints = [re.sub(r"^[a-z]+://", "", each) for each in endpoints]
        endpoints = [f"{protocol}://{each.rstrip('/')}" for each in endpoints]
    return _imported(
        endpoints=endpoints,
        rate=client.get("rps", 0),
        connections=client.get("connections", 1),
        duration=test["duration"],
        generators=[client["loadGenerator"]] if client.get("loadGenerator") else [],
        headers=_mapping(client.get("headers")),
        cookies=_mapping(client.get("cookies")),
        body=client.get("body", ""),
        content_type=client.get("contentType", ""),
        more=_mapping(client.get("additionalOptions")),
        authority=client.get("sslCertificate", ""),
        remarks=_several(clients, "clients"),
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
    notes = [*remarks, *_several(endpoints, "endpoints"), *_several(generators, "load generators"), *ignored]
    return Imported(endpoints[0], options, authority, notes)


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
    pieces = list(_DURATION.finditer(text))
    if not pieces or "".join(piece[0] for piece in pieces) != text.strip():
        raise PlanError(f"duration {text!r}: must be in Go's format ('30s', '1m30s')")
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


def _camel(value: Any, known: dict[int, Any]) -> Any:
    """Convert the format's own keys to camelCase; a value shared by several places is converted once."""
    if id(value) not in known:
        if isinstance(value, list):
            known[id(value)] = [_camel(each, known) for each in value]
        elif isinstance(value, Mapping):
            known[id(value)] = dict(_pairs(value, known))
        else:
            return value
    return known[id(value)]


def _pairs(mapping: Mapping[str, Any], known: dict[int, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        name = re.sub(r"_([a-z])", lambda match: match[1].upper(), str(key))
        yield name, value if name in _AS_IS else _camel(value, known)
