"""Choose benchmarks and run them, one after another: ``python -m benchmarks throughput``."""

import argparse
from importlib import import_module

from benchmarks import machine

NAMES = ("throughput", "open_loop", "truth", "memory", "startup", "gate", "comparing", "engines", "scale")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Print benchmarks as Markdown.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(NAMES)} (default: all)")
    parser.add_argument(
        "--runs", type=int, default=100, help="how many loads of a real service gate and comparing make (100)"
    )
    arguments = parser.parse_args()
    names = arguments.names
    if unknown := set(names) - set(NAMES):
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if arguments.runs < 1:
        parser.error("--runs: write 1 or more")
    print(machine.described())
    # What is started from here on inherits the core; services are started on theirs.
    with machine.on(machine.GENERATOR):
        for name in names or NAMES:
            import_module(f"benchmarks.{name}").run(*([arguments.runs] if name in {"gate", "comparing"} else []))


if __name__ == "__main__":
    main()
