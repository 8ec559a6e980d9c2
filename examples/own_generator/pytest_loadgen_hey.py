"""hey as a load generator: install this beside pytest-loadgen, and choose it with --load-generator=hey."""

import csv
import math
from collections.abc import Mapping

import pytest

from pytest_loadgen import Command, CommandOutput, Interval, LoadGenerator, Plan, Timeline


class Hey(Command):
    """hey keeps a rate on each connection, and measures latency from when a request was sent."""

    name = "hey"
    features = frozenset({"http", "https", "http2", "rate", "body"})
    latency_from = "sent"
    install_hint = "https://github.com/rakyll/hey, or apt install hey"

    def argv(self, plan: Plan) -> list[str]:
        workers, requests = shared(plan)
        target = plan.target
        rate = ["-n", str(requests), "-c", str(workers), "-q", str(requests / plan.duration / workers)]
        headers = [word for name, value in target.headers for word in ("-H", f"{name.decode()}: {value.decode()}")]
        body = ["-D", "body"] if target.body else []
        http = ["-m", target.method, "-t", str(math.ceil(plan.timeout)), "-disable-redirects", "-o", "csv"]
        url = target.origin + target.path.decode()
        return [*rate, *http, *headers, *body, *(["-h2"] if target.http2 else []), *self.args, url]

    def files(self, plan: Plan) -> Mapping[str, bytes]:
        return {"body": plan.target.body}

    def parse(self, output: CommandOutput, plan: Plan) -> list[Interval]:
        timeline, responses = Timeline(plan), list(csv.DictReader(output.stdout.splitlines()))
        for response in responses:
            took = float(response["response-time"])
            timeline.add_response(float(response["offset"]) + took, response["status-code"], took, took)
        # Requests without a response are not in its output.
        timeline.add_failure(plan.duration, "failed", max(0, shared(plan)[1] - len(responses)))
        return timeline.intervals(output.cpu / output.seconds)


def shared(plan: Plan) -> tuple[int, int]:
    # All workers send the same number: choose the most workers that add at most 2 % to the requests.
    requests, most = plan.requests, max(1, min(plan.connections, plan.requests))
    workers = min(range((most + 1) // 2, most + 1), key=lambda count: (max(-requests % count, requests / 50), -count))
    return workers, requests + -requests % workers


@pytest.hookimpl(optionalhook=True)  # pytest also works without pytest-loadgen
def pytest_loadgen_generators() -> list[LoadGenerator]:
    return [Hey()]
