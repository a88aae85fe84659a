from modelzoo_mediswift.sweep.grid import (
    COMPLETE,
    PRUNED,
    RUNNING,
    Configuration,
    Grid,
    Outcome,
    Point,
)

A, B, C = Configuration(8, 1e-4), Configuration(8, 1e-5), Configuration(16, 1e-4)
GRID = Grid((8, 16), (1e-4, 1e-5), (1, 2))


def complete(score: float, watched: float = 0.0) -> Outcome:
    return Outcome(COMPLETE, score, watched)


def test_the_first_seed_of_every_configuration_comes_first():
    points = GRID.points()
    assert [p.seed for p in points] == [1, 1, 1, 1, 2, 2, 2, 2]
    assert points[0].name == "batch8_lr0.0001_seed1"
    assert len({p.name for p in points}) == 8
    close = Grid((8,), (1.2345671e-4, 1.2345672e-4), (1,)).points()
    assert len({p.name for p in close}) == 2, "else one run would go on with the other's"


def test_later_seeds_wait_for_the_first_and_are_spared_where_it_was_pruned():
    found = {Point(c, 1): Outcome(RUNNING) for c in GRID.configurations}
    assert GRID.next_point(found) is None
    assert not GRID.finished(found)
    found[Point(A, 1)] = Outcome(PRUNED)
    assert GRID.next_point(found) is None
    found[Point(C, 1)] = complete(0.5)
    assert GRID.next_point(found) == Point(C, 2)
    assert Point(A, 2) not in GRID.left(found)


def test_the_best_has_all_seeds_and_the_highest_mean():
    found = {
        Point(A, 1): complete(0.9),
        Point(A, 2): Outcome(PRUNED),
        Point(B, 1): complete(0.4),
        Point(B, 2): complete(0.6),
        Point(C, 1): complete(0.7),
        Point(C, 2): complete(0.2),
    }
    assert GRID.best(found) == B
    assert GRID.scores(B, found) == [0.4, 0.6]
    assert GRID.scores(A, found) is None
    assert GRID.best({}) is None


def test_equal_scores_are_told_apart_by_what_was_watched():
    found = {
        Point(c, seed): complete(0.5, watched)
        for c, watched in ((A, -2.0), (B, -1.0), (C, -1.5))
        for seed in (1, 2)
    }
    assert GRID.best(found) == B
