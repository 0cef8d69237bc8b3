"""Looking at a queue without taking: MQTT 5's user property `browse` (docs/protocols/mqtt.md)."""

from interop.clients.mqtt5 import Mqtt5
from interop.coming import bodies


def test_browsing_takes_nothing(gateway, queue_address):
    client, other = Mqtt5(gateway), Mqtt5(gateway)
    for number in range(3):
        client.send(queue_address.mqtt, str(number))
    assert client.ask(queue_address.mqtt, browse="true")[0] == 1
    assert bodies(client, 3) == ["0", "1", "2"]
    other.ask(queue_address.mqtt)
    assert bodies(other, 3) == ["0", "1", "2"]
    client.close()
    other.close()
