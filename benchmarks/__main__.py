"""Run benchmarks one after another: ``python -m benchmarks throughput``."""

import argparse
from importlib import import_module

from benchmarks import machine

NAMES = (
    *("throughput", "open_loop", "truth", "memory", "startup", "gate", "comparing", "kept", "engines", "scale"),
    *("traffic", "journeys", "capacity", "resources", "means", "verdicts"),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Print benchmarks as Markdown.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"benchmark to run: {', '.join(NAMES)} (default: all)")
    parser.add_argument(
        "--runs", type=int, default=100, help="loads of a real service in gate and comparing (default: 100)"
    )
    arguments = parser.parse_args()
    names = arguments.names
    if unknown := set(names) - set(NAMES):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(NAMES)}")
    if arguments.runs < 1:
        parser.error("--runs: must be 1 or more")
    print(machine.described())
    # Processes inherit this core; services are started on their own.
    with machine.on(machine.GENERATOR):
        for name in names or NAMES:
            import_module(f"benchmarks.{name}").run(*([arguments.runs] if name in {"gate", "comparing"} else []))


if __name__ == "__main__":
    main()
