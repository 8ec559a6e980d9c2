"""hey as a load generator: install this beside pytest-loadgen, and choose it with --load-generator=hey."""

import csv
import math
from collections.abc import Mapping

import pytest

from pytest_loadgen import Command, CommandOutput, Interval, LoadGenerator, Plan, Timeline


class Hey(Command):
    """hey keeps a rate on each connection, and counts from when a request was sent."""

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
        timeline, answers = Timeline(plan), list(csv.DictReader(output.stdout.splitlines()))
        for answer in answers:
            took = float(answer["response-time"])
            timeline.add_response(float(answer["offset"]) + took, answer["status-code"], took, took)
        # What got no answer is not in its table.
        timeline.add_failure(plan.duration, "failed", max(0, shared(plan)[1] - len(answers)))
        return timeline.intervals(output.cpu / output.seconds)


def shared(plan: Plan) -> tuple[int, int]:
    # Each worker sends as many as the others: as many workers as add no more than 2 % to the requests.
    requests, most = plan.requests, max(1, min(plan.connections, plan.requests))
    workers = min(range((most + 1) // 2, most + 1), key=lambda count: (max(-requests % count, requests / 50), -count))
    return workers, requests + -requests % workers


@pytest.hookimpl(optionalhook=True)  # pytest goes on without pytest-loadgen, too
def pytest_loadgen_generators() -> list[LoadGenerator]:
    return [Hey()]
