"""The auth flow of a request: run once before a load, as httpx runs it, with all that it sends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_loadgen.errors import LoadError, PlanError, ServiceError
from pytest_loadgen.redaction import without_password
from pytest_loadgen.service import reachability
from pytest_loadgen.traffic.plan import Plan
from pytest_loadgen.traffic.target import Target
from pytest_loadgen.units import Duration

if TYPE_CHECKING:
    import httpx

# A flow that asks for more than this goes in a circle.
_MOST_REQUESTS = 20
_PATIENCE = 30.0


def log_in(plan: Plan, allowed_hosts: Iterable[str] = ()) -> Plan:
    """Run the auth flow of each request that has one, and return the plan with the requests that the flows ended with.

    What a flow sends goes to allowed hosts only, never through a proxy. Raises ServiceError where no
    answer came, PlanError where the flow itself fails.
    """
    allowed_hosts = tuple(allowed_hosts)
    if not plan.mix:
        return replace(plan, target=_logged_in(plan.target, plan.ready_timeout, allowed_hosts))
    mix = tuple(
        replace(request, target=_logged_in(request.target, plan.ready_timeout, allowed_hosts)) for request in plan.mix
    )
    return replace(plan, target=mix[0].target, mix=mix)


def _logged_in(target: Target, timeout: float, allowed_hosts: Iterable[str]) -> Target:
    if (login := target.login) is None:
        return target
    import httpx

    auth = login.auth
    # A copy: the flow changes it, and the next load starts it again.
    request = httpx.Request(login.request.method, login.request.url, headers=login.request.headers, content=target.body)
    flow = auth.sync_auth_flow(request)
    try:
        request = next(flow)
        for _ in range(_MOST_REQUESTS):
            answer = _send(target, request, timeout, allowed_hosts)
            try:
                request = flow.send(answer)
            except StopIteration:
                return target.authenticated(request)
    except LoadError:
        raise
    except Exception as error:
        raise PlanError(f"auth= {type(auth).__name__} raised {type(error).__name__}: {error}") from error
    finally:
        flow.close()
    raise PlanError(f"auth= {type(auth).__name__} sent {_MOST_REQUESTS} requests and wanted to send more")


def _send(target: Target, request: httpx.Request, timeout: float, allowed_hosts: Iterable[str]) -> httpx.Response:
    """Send one request of the flow, to the address that was checked."""
    import httpx

    assert target.login is not None
    url, own = request.url, target.login.request.url
    if (url.scheme, url.netloc) == (own.scheme, own.netloc):
        there = target
    elif url.scheme in ("http", "https"):
        there = Target.of(str(url), verify=target.verify, cert=target.cert)
    else:
        raise PlanError(f"auth= sends a request to {url.scheme}://: expected http:// or https://")
    there = reachability.find(there, timeout, allowed_hosts)
    address = there.address
    request.read()
    sent = request
    if isinstance(address, tuple) and "%" not in address[0]:
        extensions = {**request.extensions, "sni_hostname": there.host.strip("[]")}
        # The headers have the host's name.
        sent = httpx.Request(
            request.method,
            url.copy_with(host=address[0]),
            headers=request.headers,
            stream=request.stream,
            extensions=extensions,
        )
    transport = httpx.HTTPTransport(
        verify=there.ssl_context() if there.tls else False,
        trust_env=False,
        uds=address if isinstance(address, str) else None,
    )

    def answer() -> httpx.Response:
        with transport:
            found = transport.handle_request(sent)
            found.read()
        found.request = request
        return found

    shown = without_password(str(url).partition("?")[0])
    what = f"auth= the request {request.method} {shown} of its flow"
    try:
        return _within(_PATIENCE, answer)
    except TimeoutError:
        raise ServiceError(f"{what} got no response within {Duration(_PATIENCE)}") from None
    except httpx.HTTPError as error:
        raise ServiceError(f"{what} failed: {error or type(error).__name__}") from None


def _within(seconds: float, call: Callable[[], httpx.Response]) -> httpx.Response:
    """Call in a thread, because httpx's own time limits restart with each byte. Raises TimeoutError."""
    future: Future[httpx.Response] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future.result(seconds)
