"""The cost of a message does not grow with the number of destinations or of subscriptions.

CPU time of the gateway, by message: the steadiest figure. For the depth of a queue see paging.py.
"""

from stress.load import Load, alternate
from stress.server import started

DESTINATIONS = 10_000
SUBSCRIPTIONS = 100_000
CONNECTIONS = 100
ROUNDS = 5
MORE = {"EVERGATE__MQTT__SUBSCRIPTIONS_MAX": "100000", "EVERGATE__LIMITS__QUEUES_MAX": "300000"}


def measure(rows, journal, scale):
    count = max(int(DESTINATIONS * scale), 100)
    for kind, options in {
        f"{count:,} durable queues": ("durable", "queues"),
        f"{count:,} transient queues": ("queues",),
        f"{count:,} durable topics": ("durable",),
        f"{count:,} transient topics": (),
    }.items():
        # New ones for each kind: queues stay.
        with started(journal, MORE) as one, started(journal, MORE) as many:
            destinations(rows, kind, options, {"one": (one, 1), "many": (many, count)})
    with started(journal, MORE) as one, started(journal, MORE) as many:
        subscriptions(rows, one, many, max(int(SUBSCRIPTIONS * scale), 1000))


def destinations(rows, kind, options, gateways):
    def run(gateway, count):
        # More under way than a consumer may hold: so that some of it has to wait for its turn.
        settings = {"paced_seconds": 0.3, "full_seconds": 1.5, "delivery_window": 16_384}
        return lambda _: Load(gateway).pairs("flat", *options, destinations=count, **settings)

    try:
        found = alternate({name: run(*each) for name, each in gateways.items()}, ROUNDS)
    except RuntimeError as error:
        rows.fail(kind, error)
    else:
        tell(rows, kind, found["one"], found["many"])


def subscriptions(rows, one, many, count):
    for protocol in ("mqtt", "stomp"):
        bystanders = Load(many, protocol).start(
            "bystand", f"bystand-{protocol}", subscribers=CONNECTIONS, filters=count // CONNECTIONS
        )
        try:
            if bystanders.stdout.readline() != "ready\n":
                raise RuntimeError(bystanders.stderr.read())
            for mode, options in {"durable": ("durable",), "transient": ()}.items():
                # Below the same first level as the subscriptions that do not match.
                def run(gateway):
                    return lambda _: Load(gateway).pairs(
                        f"bystand-{protocol}", *options, paced_seconds=0.1, full_seconds=1.5
                    )

                found = alternate({"one": run(one), "many": run(many)}, ROUNDS)
                tell(rows, f"{count:,} {protocol} subscriptions, {mode}", found["one"], found["many"])
        finally:
            bystanders.stdin.close()
            bystanders.wait()


def tell(rows, kind, one, many):
    rows.at_most(f"{kind}: CPU us/message, % of that with one", 100 * many["cpu_us"] / one["cpu_us"], 120)
    rows.tell("  CPU us/message with one, with many", f"{one['cpu_us']:.2f}, {many['cpu_us']:.2f}")
    rows.tell("  messages/s with one, with many", f"{one['rate']:,.0f}, {many['rate']:,.0f}")
    stolen = ", ".join(f"{100 * each['stolen_share']:.0f}" for each in (one, many))
    rows.tell("  of the machine its host gave to others meanwhile, %", stolen)
