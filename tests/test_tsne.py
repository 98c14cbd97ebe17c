"""t-SNE of a few hundred points."""

import numpy as np
import pytest

from preprocessor.embedding_plot import MAX_POINTS, choose_points
from preprocessor.tsne import project


def groups(count, size, dimensions=20, seed=0):
    """Well separated groups of points, shuffled, and whose each is."""
    rng = np.random.default_rng(seed)
    owners = rng.permutation(np.repeat(np.arange(count), size))
    centres = rng.normal(0, 10, (count, dimensions))
    return (centres[owners] + rng.normal(0, 1, (len(owners), dimensions))).astype(np.float32), owners


def test_neighbours_stay_neighbours():
    vectors, owners = groups(6, 25)
    plane = project(vectors)
    distances = np.linalg.norm(plane[:, None] - plane[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1)[:, :10]
    assert plane.shape == (150, 2) and np.isfinite(plane).all()
    assert (owners[nearest] == owners[:, None]).mean() > 0.98


def test_the_same_points_give_the_same_plane_in_any_order_of_magnitude():
    vectors, _ = groups(3, 20)
    plane = project(vectors)
    assert np.array_equal(plane, project(vectors.copy()))
    assert np.array_equal(plane, project(vectors * np.float32(1024)))  # a power of two, exact


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 11])
@pytest.mark.parametrize("dimensions", [1, 80])
def test_few_points_and_equal_points(count, dimensions):
    vectors = np.random.default_rng(count).normal(size=(count, dimensions)).astype(np.float32)
    for points in (vectors, np.ones_like(vectors)):
        plane = project(points)
        assert plane.shape == (count, 2) and np.isfinite(plane).all()


@pytest.mark.parametrize("speakers", [1, 3, 22, 399, 400, 401, 2456])
def test_points_are_few_and_spread_over_speakers_and_their_utterances(speakers):
    chosen = choose_points({f"S{number:04d}": 1000 for number in range(speakers)})
    counts = {len(numbers) for numbers in chosen.values()}
    assert sum(map(len, chosen.values())) <= MAX_POINTS and len(counts) == 1
    assert sum(map(len, chosen.values())) >= MAX_POINTS / 2 and len(chosen) == min(speakers, MAX_POINTS)
    if speakers < 200:
        assert all(numbers[0] == 0 and numbers[-1] == 999 for numbers in chosen.values())
    assert choose_points({"a": 3, "b": 1000})["a"] == [0, 1, 2]
