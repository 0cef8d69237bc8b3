import jakarta.jms.Connection;
import jakarta.jms.InvalidDestinationException;
import jakarta.jms.JMSException;
import jakarta.jms.MessageConsumer;
import jakarta.jms.Session;
import jakarta.jms.TextMessage;
import jakarta.jms.Topic;
import java.util.Set;
import java.util.TreeSet;

/** What a JMS application expects of topics. */
final class Subscriptions {
    public static void aDurableSubscriptionKeepsWhatComesMeanwhile() throws JMSException {
        Topic topic = Checks.topic("durable");
        try (Connection connection = Checks.connect("durable-client"); Session session = connection.createSession()) {
            session.createDurableConsumer(topic, "keeps");
        }
        publish(topic, "meanwhile");
        try (Connection connection = Checks.connect("durable-client"); Session session = connection.createSession()) {
            MessageConsumer consumer = session.createDurableConsumer(topic, "keeps");
            Checks.same("meanwhile", Checks.text(consumer));
            consumer.close();
            session.unsubscribe("keeps");
        }
        publish(topic, "nobody's");
        try (Connection connection = Checks.connect("durable-client"); Session session = connection.createSession()) {
            Checks.nothing(session.createDurableConsumer(topic, "keeps"));
        }
    }

    public static void aSubscriptionThatIsNotThereCannotBeEnded() throws JMSException {
        try (Connection connection = Checks.connect("other-client"); Session session = connection.createSession()) {
            session.unsubscribe("never");
        } catch (InvalidDestinationException refused) {
            return;
        }
        throw new AssertionError("taken");
    }

    public static void aDurableSubscriptionHasASelectorAndNoLocal() throws JMSException {
        Topic topic = Checks.topic("selected");
        try (Connection connection = Checks.connect("selecting-client"); Session session = connection.createSession()) {
            MessageConsumer consumer = session.createDurableSubscriber(topic, "selects", "colour = 'red'", true);
            TextMessage own = session.createTextMessage("own");
            own.setStringProperty("colour", "red");
            session.createProducer(topic).send(own);
            coloured(topic, "blue");
            coloured(topic, "red");
            Checks.same("red", Checks.text(consumer));
            Checks.nothing(consumer);
        }
        coloured(topic, "blue");
        coloured(topic, "red");
        try (Connection connection = Checks.connect("selecting-client"); Session session = connection.createSession()) {
            MessageConsumer consumer = session.createDurableSubscriber(topic, "selects", "colour = 'red'", true);
            Checks.same("red", Checks.text(consumer));
            Checks.nothing(consumer);
            consumer.close();
            session.unsubscribe("selects");
        }
    }

    public static void aDurableSubscriptionWithAnotherSelectorBeginsAnew() throws JMSException {
        Topic topic = Checks.topic("changed");
        for (String colour : new String[] {"red", "blue"}) {
            try (Connection connection = Checks.connect("changing-client"); Session session = connection.createSession()) {
                MessageConsumer consumer =
                        session.createDurableConsumer(topic, "changes", "colour = '" + colour + "'", false);
                Checks.nothing(consumer);
            }
            coloured(topic, colour);
        }
        try (Connection connection = Checks.connect("changing-client"); Session session = connection.createSession()) {
            MessageConsumer consumer = session.createDurableConsumer(topic, "changes", "colour = 'blue'", false);
            Checks.same("blue", Checks.text(consumer));
            Checks.nothing(consumer);
            consumer.close();
            session.unsubscribe("changes");
        }
    }

    public static void aSharedSubscriptionDividesItsMessages() throws JMSException {
        Topic topic = Checks.topic("shared");
        try (Connection one = Checks.connect(null); Connection other = Checks.connect(null)) {
            MessageConsumer first = one.createSession().createSharedConsumer(topic, "group");
            MessageConsumer second = other.createSession().createSharedConsumer(topic, "group");
            divided(topic, first, second);
        }
    }

    public static void aSharedDurableSubscriptionOfOneClient() throws JMSException {
        Topic topic = Checks.topic("shared-durable");
        try (Connection connection = Checks.connect("sharing-client")) {
            Session one = connection.createSession();
            Session other = connection.createSession();
            MessageConsumer first = one.createSharedDurableConsumer(topic, "divides");
            MessageConsumer second = other.createSharedDurableConsumer(topic, "divides");
            divided(topic, first, second);
        }
        publish(topic, "kept");
        try (Connection connection = Checks.connect("sharing-client"); Session session = connection.createSession()) {
            MessageConsumer consumer = session.createSharedDurableConsumer(topic, "divides");
            Checks.same("kept", Checks.text(consumer));
            consumer.close();
            session.unsubscribe("divides");
        }
    }

    public static void aSharedDurableSubscriptionOfAll() throws JMSException {
        Topic topic = Checks.topic("global");
        try (Connection one = Checks.connect(null); Connection other = Checks.connect(null)) {
            MessageConsumer first = one.createSession().createSharedDurableConsumer(topic, "everyone");
            MessageConsumer second = other.createSession().createSharedDurableConsumer(topic, "everyone");
            divided(topic, first, second);
        }
        publish(topic, "kept");
        try (Connection connection = Checks.connect(null); Session session = connection.createSession()) {
            MessageConsumer consumer = session.createSharedDurableConsumer(topic, "everyone");
            Checks.same("kept", Checks.text(consumer));
            consumer.close();
            session.unsubscribe("everyone");
        }
        publish(topic, "nobody's");
        try (Connection connection = Checks.connect(null); Session session = connection.createSession()) {
            Checks.nothing(session.createSharedDurableConsumer(topic, "everyone"));
        }
    }

    public static void aSubscriptionThatOthersConsumeFromCannotBeEnded() throws JMSException {
        Topic topic = Checks.topic("busy");
        try (Connection one = Checks.connect(null); Connection other = Checks.connect(null)) {
            MessageConsumer consumer = one.createSession().createSharedDurableConsumer(topic, "busy");
            try {
                other.createSession().unsubscribe("busy");
                throw new AssertionError("ended");
            } catch (JMSException refused) {
                publish(topic, "still");
                Checks.same("still", Checks.text(consumer));
            }
            consumer.close();
            other.createSession().unsubscribe("busy");
        }
    }

    private static void divided(Topic topic, MessageConsumer first, MessageConsumer second) throws JMSException {
        Set<String> expected = new TreeSet<>();
        for (int number = 0; number < 10; number++) {
            publish(topic, "m" + number);
            expected.add("m" + number);
        }
        Set<String> found = new TreeSet<>();
        int all = 0;
        for (MessageConsumer consumer : new MessageConsumer[] {first, second}) {
            jakarta.jms.Message message;
            while ((message = consumer.receive(Checks.NEVER)) != null) {
                found.add(((TextMessage) message).getText());
                all++;
            }
        }
        Checks.same(expected, found);
        Checks.same(10, all);
    }

    private static void publish(Topic topic, String text) throws JMSException {
        try (Connection connection = Checks.connect(null); Session session = connection.createSession()) {
            session.createProducer(topic).send(session.createTextMessage(text));
        }
    }

    private static void coloured(Topic topic, String colour) throws JMSException {
        try (Connection connection = Checks.connect(null); Session session = connection.createSession()) {
            TextMessage message = session.createTextMessage(colour);
            message.setStringProperty("colour", colour);
            session.createProducer(topic).send(message);
        }
    }

    private Subscriptions() {}
}
