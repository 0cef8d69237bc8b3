"""What measures a leak sees one, and sees none where sizes only jump."""

from badinput.measure import TURNS, lasting_growth


class Sized:
    def __init__(self, mib):
        self.sizes = iter([size << 20 for size in mib])

    def rss_bytes(self):
        return next(self.sizes)


def test_a_leak_of_4_mib_a_turn_is_seen_through_the_noise():
    noise = [0, 9, 4, 0, 7, 3, 9, 5]
    assert len(noise) == TURNS
    leaking = Sized(30 + 4 * turn + jump for turn, jump in enumerate(noise))
    assert lasting_growth(leaking, lambda: None) >= 8
    assert lasting_growth(Sized(30 + jump for jump in noise), lambda: None) <= 0
