"""One function over many items: order, bounds, errors."""

import os
import signal
import time

import pytest

from errors import UserError
from preprocessor.parallel import AHEAD, ordered_map


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
