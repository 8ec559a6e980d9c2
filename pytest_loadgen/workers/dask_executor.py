"""An executor that runs everything on one worker of a Dask cluster."""

from __future__ import annotations

import operator
import pickle
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from pytest_loadgen.errors import GeneratorError

if TYPE_CHECKING:
    from distributed import Client

P = ParamSpec("P")
T = TypeVar("T")


class DaskExecutor(Executor):
    """One worker, for calls that only this worker has to unpickle.

    Dask's scheduler unpickles what it passes on, and a worker dies if it cannot unpickle a task. So
    both see the standard library only: the call itself travels as bytes, and unpickling it is the
    worker's first task.
    """

    def __init__(self, client: Client, worker: str) -> None:
        """Use the worker at an address."""
        self._executor = client.get_executor(workers=[worker], allow_other_workers=False, pure=False)
        self._unpickle = partial(client.submit, pickle.loads, workers=[worker], allow_other_workers=False, pure=False)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a call on the worker. Raises GeneratorError if it cannot be pickled."""
        try:
            pickled = pickle.dumps(partial(fn, *args, **kwargs))
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise GeneratorError(f"the generator cannot be sent to a worker: {error}") from None
        future: Future[T] = self._executor.submit(operator.call, self._unpickle(pickled))
        return future
