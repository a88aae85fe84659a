from modelzoo_mediswift.trainer.trainer import Cadence


def test_pauses_evaluations_and_checkpoints():
    cadence = Cadence(25, 1, evaluate_every=10, checkpoint_every=4)
    pauses, step = [], 0
    while step < 25:
        step = cadence.next_pause(step)
        pauses.append(step)
    assert pauses == [4, 8, 10, 12, 16, 20, 24, 25]
    assert [s for s in pauses if cadence.evaluate_at(s)] == [10, 20, 25]
    assert [s for s in pauses if cadence.checkpoint_at(s)] == [4, 8, 12, 16, 20, 24, 25]


def test_without_frequencies_it_neither_evaluates_nor_saves():
    cadence = Cadence(25, 1)
    assert cadence.next_pause(3) == 25
    assert not cadence.evaluate_at(25)
    assert not cadence.checkpoint_at(25)
