"""One function over many items: order, bounds, errors."""

import os
import signal
import subprocess
import sys
import time

import pytest

from errors import UserError
from preprocessor.parallel import AHEAD, ordered_map
from tests.paths import ROOT
from tests.processes import ENVIRONMENT


def squared(number):
    time.sleep(0.02 if number % 3 == 0 else 0)
    return number * number


def refused(number):
    if number == 5:
        raise UserError("not 5")
    return number


def dies(number):
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def blas_threads(_):
    """Of numpy's matrix products, in this process."""
    import numpy  # noqa: F401
    import threadpoolctl  # type: ignore[import-untyped]

    return {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core has one thread anyway")
@pytest.mark.parametrize("given", [None, "2"])
def test_scripts_and_their_workers_multiply_with_one_thread_unless_told_otherwise(given):
    """With two workers of two threads each on two cores a small product took twenty times as long."""
    code = """
from utils.cli import run
def main(argv):
    from preprocessor.parallel import ordered_map
    from tests.test_parallel import blas_threads
    print(blas_threads(0), *ordered_map(blas_threads, range(4), 2, ("numpy",)))
run(main)
"""
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "OPENBLAS_NUM_THREADS"}
    if given is not None:
        environment["OPENBLAS_NUM_THREADS"] = given
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == [f"{{{given or 1}}}"] * 5, done.stdout + done.stderr


@pytest.mark.parametrize(("jobs", "chunk"), [(1, 1), (1, 4), (2, 1), (2, 4), (2, 100)])
def test_results_come_in_order_whatever_the_number_of_processes(jobs, chunk):
    assert list(ordered_map(squared, iter(range(30)), jobs, chunk=chunk)) == [number**2 for number in range(30)]
    assert list(ordered_map(squared, [], jobs, chunk=chunk)) == []


def test_no_more_is_taken_than_is_under_way():
    """Of a generator without end."""
    taken = 0

    def items():
        nonlocal taken
        while True:
            taken += 1
            yield taken

    results = ordered_map(squared, items(), 2, chunk=3)
    for _ in range(30):
        next(results)
    assert taken <= 30 + 3 * (2 * AHEAD + 2)
    results.close()


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_reaches_the_caller_after_the_results_before_it(jobs):
    results = ordered_map(refused, range(100), jobs)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(UserError, match="not 5"):
        next(results)


def test_a_worker_that_dies_is_a_user_error():
    with pytest.raises(UserError, match=r"a worker process died \(out of memory\?\)"):
        list(ordered_map(dies, range(100), 2))
