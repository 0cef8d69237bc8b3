"""The checker can fail: each rule is broken once, and once kept."""

from crash.checker import Delivery, History, violations


def run(sends, deliveries, confirmed=None):
    history = History(sends=sends, confirmed=set(sends) if confirmed is None else confirmed, deliveries=deliveries)
    return [text.split(":")[0] for text in violations(history)]


def delivered(number, redelivered=False, acknowledged=True, settled=True, intact=True):
    return Delivery(number, redelivered, intact, acknowledged, settled=acknowledged and settled)


def test_a_clean_run_has_no_violations():
    assert run({1: 1, 2: 1}, [delivered(1), delivered(2)]) == []


def test_a_confirmed_message_that_never_comes_is_lost():
    assert run({1: 1, 2: 1}, [delivered(1)]) == ["lost"]


def test_an_unconfirmed_message_may_be_absent():
    assert run({1: 1, 2: 1}, [delivered(1)], confirmed={1}) == []


def test_a_message_that_was_delivered_and_not_acknowledged_must_come_again():
    assert run({1: 1}, [delivered(1, acknowledged=False)]) == ["lost"]
    assert run({1: 1}, [delivered(1, acknowledged=False), delivered(1, redelivered=True)]) == []


def test_an_acknowledgement_in_flight_at_a_crash_may_count_or_not():
    assert run({1: 1}, [delivered(1, settled=False)]) == []
    assert run({1: 1}, [delivered(1, settled=False), delivered(1, redelivered=True)]) == []


def test_a_redelivery_must_be_flagged():
    assert run({1: 1}, [delivered(1, acknowledged=False), delivered(1)]) == ["unflagged"]


def test_a_delivery_after_its_acknowledgement_is_a_duplicate_even_if_flagged():
    assert run({1: 1}, [delivered(1), delivered(1, redelivered=True)]) == ["duplicate"]


def test_what_the_publisher_sent_twice_may_come_twice_unflagged():
    assert run({1: 2}, [delivered(1), delivered(1)]) == []
    assert run({1: 2}, [delivered(1)]) == []
    assert run({1: 2}, [delivered(1), delivered(1), delivered(1)]) == ["duplicate", "unflagged"]


def test_first_deliveries_keep_the_producers_order():
    assert run({1: 1, 2: 1}, [delivered(2), delivered(1)]) == ["disorder"]


def test_repetitions_do_not_count_as_disorder():
    assert run({1: 2, 2: 2, 3: 1}, [delivered(1), delivered(2), delivered(1), delivered(2), delivered(3)]) == []


def test_what_nobody_sent_is_noticed():
    assert run({1: 1}, [delivered(1), delivered(9)]) == ["stranger"]


def test_a_damaged_body_is_noticed():
    assert run({1: 1}, [delivered(1, intact=False)]) == ["damaged"]
