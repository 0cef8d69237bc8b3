import jakarta.jms.Connection;
import jakarta.jms.DeliveryMode;
import jakarta.jms.InvalidSelectorException;
import jakarta.jms.JMSException;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.MessageProducer;
import jakarta.jms.Queue;
import jakarta.jms.Session;
import jakarta.jms.TemporaryQueue;
import jakarta.jms.TemporaryTopic;
import jakarta.jms.TextMessage;
import java.util.List;

/** What a JMS application expects of queues. */
final class Queues {
    public static void aSelectorTakesItsMessagesAndLeavesTheRest() throws JMSException {
        try (Connection connection = Checks.connect(null); Session session = connection.createSession()) {
            Queue queue = Checks.queue("selector");
            MessageProducer producer = session.createProducer(queue);
            for (int number = 0; number < 6; number++) {
                TextMessage message = session.createTextMessage("m" + number);
                message.setStringProperty("colour", number % 2 == 0 ? "red" : "blue");
                message.setIntProperty("number", number);
                producer.send(message);
            }
            try (MessageConsumer red = session.createConsumer(queue, "colour = 'red' AND number BETWEEN 1 AND 4")) {
                Checks.same("m2", Checks.text(red));
                Checks.same("m4", Checks.text(red));
                Checks.nothing(red);
            }
            Checks.same(List.of("m0", "m1", "m3", "m5"), Checks.drain(session, queue));
        }
    }

    public static void aSelectorMaySpeakOfJmsHeaders() throws JMSException {
        try (Connection connection = Checks.connect(null); Session session = connection.createSession()) {
            Queue queue = Checks.queue("headers");
            MessageProducer producer = session.createProducer(queue);
            TextMessage message = session.createTextMessage("typed");
            message.setJMSType("invoice");
            message.setJMSCorrelationID("c-1");
            producer.send(message, DeliveryMode.PERSISTENT, 7, 0);
            producer.send(session.createTextMessage("plain"));
            String selector = "JMSType = 'invoice' AND JMSCorrelationID = 'c-1' AND JMSPriority > 5 AND JMSDeliveryMode = 'PERSISTENT'";
            try (MessageConsumer consumer = session.createConsumer(queue, selector)) {
                Checks.same("typed", Checks.text(consumer));
                Checks.nothing(consumer);
            }
            Checks.same(List.of("plain"), Checks.drain(session, queue));
        }
    }

    public static void aBrowserSeesAllAndTakesNothing() throws JMSException {
        try (Connection connection = Checks.connect(null); Session session = connection.createSession()) {
            Queue queue = Checks.queue("browser");
            MessageProducer producer = session.createProducer(queue);
            for (int number = 0; number < 4; number++) {
                TextMessage message = session.createTextMessage("m" + number);
                message.setBooleanProperty("even", number % 2 == 0);
                producer.send(message);
            }
            Checks.same(List.of("m0", "m1", "m2", "m3"), Checks.texts(session.createBrowser(queue).getEnumeration()));
            Checks.same(List.of("m0", "m2"), Checks.texts(session.createBrowser(queue, "even").getEnumeration()));
            Checks.same(List.of("m0", "m1", "m2", "m3"), Checks.drain(session, queue));
        }
    }

    public static void higherPriorityGoesFirst() throws JMSException {
        try (Connection connection = Checks.connect(null); Session session = connection.createSession()) {
            Queue queue = Checks.queue("priority");
            MessageProducer producer = session.createProducer(queue);
            for (int priority : new int[] {1, 9, 4, 9}) {
                producer.send(session.createTextMessage("p" + priority), DeliveryMode.PERSISTENT, priority, 0);
            }
            Checks.same(List.of("p9", "p9", "p4", "p1"), Checks.drain(session, queue));
        }
    }

    public static void aDelayedMessageComesLaterAndSaysWhen() throws JMSException {
        try (Connection connection = Checks.connect(null); Session session = connection.createSession()) {
            Queue queue = Checks.queue("delay");
            MessageProducer producer = session.createProducer(queue);
            producer.setDeliveryDelay(1_500);
            long sent = System.currentTimeMillis();
            producer.send(session.createTextMessage("late"));
            producer.setDeliveryDelay(0);
            producer.send(session.createTextMessage("now"));
            MessageConsumer consumer = session.createConsumer(queue);
            Checks.same("now", Checks.text(consumer));
            Checks.nothing(consumer);
            Message late = consumer.receive(Checks.SOON);
            long took = System.currentTimeMillis() - sent;
            Checks.same("late", ((TextMessage) late).getText());
            Checks.same(true, took >= 1_500 && took < 4_000);
            Checks.same(true, Math.abs(late.getJMSDeliveryTime() - sent - 1_500) < 1_000);
        }
    }

    public static void aMessageExpires() throws Exception {
        try (Connection connection = Checks.connect(null); Session session = connection.createSession()) {
            Queue queue = Checks.queue("ttl");
            MessageProducer producer = session.createProducer(queue);
            producer.send(session.createTextMessage("brief"), DeliveryMode.PERSISTENT, 4, 200);
            producer.send(session.createTextMessage("long"), DeliveryMode.PERSISTENT, 4, 60_000);
            Thread.sleep(600);
            Checks.same(List.of("long"), Checks.drain(session, queue));
        }
    }

    public static void aTemporaryQueueTakesReplies() throws JMSException {
        try (Connection client = Checks.connect(null); Connection server = Checks.connect(null)) {
            Queue queue = Checks.queue("requests");
            Session asking = client.createSession();
            Session answering = server.createSession();
            answering.createConsumer(queue).setMessageListener(request -> {
                try {
                    TextMessage reply = answering.createTextMessage("re: " + ((TextMessage) request).getText());
                    reply.setJMSCorrelationID(request.getJMSMessageID());
                    answering.createProducer(null).send(request.getJMSReplyTo(), reply);
                } catch (JMSException error) {
                    throw new IllegalStateException(error);
                }
            });
            TemporaryQueue replies = asking.createTemporaryQueue();
            TextMessage request = asking.createTextMessage("question");
            request.setJMSReplyTo(replies);
            asking.createProducer(queue).send(request);
            MessageConsumer consumer = asking.createConsumer(replies);
            Message reply = consumer.receive(Checks.SOON);
            Checks.same("re: question", ((TextMessage) reply).getText());
            Checks.same(request.getJMSMessageID(), reply.getJMSCorrelationID());
            consumer.close();
            replies.delete();
        }
    }

    public static void aTemporaryTopicReachesItsSubscribers() throws JMSException {
        try (Connection connection = Checks.connect(null); Session session = connection.createSession()) {
            TemporaryTopic topic = session.createTemporaryTopic();
            MessageConsumer first = session.createConsumer(topic);
            MessageConsumer second = session.createConsumer(topic);
            session.createProducer(topic).send(session.createTextMessage("both"));
            Checks.same("both", Checks.text(first));
            Checks.same("both", Checks.text(second));
            first.close();
            second.close();
            topic.delete();
        }
    }

    public static void aGroupStaysWithOneConsumer() throws JMSException {
        try (Connection one = Checks.connect(null); Connection other = Checks.connect(null);
                Session sending = one.createSession()) {
            Queue queue = Checks.queue("groups");
            MessageConsumer first = one.createSession().createConsumer(queue);
            MessageConsumer second = other.createSession().createConsumer(queue);
            MessageProducer producer = sending.createProducer(queue);
            for (int number = 0; number < 20; number++) {
                TextMessage message = sending.createTextMessage("g" + number % 2);
                message.setStringProperty("JMSXGroupID", "g" + number % 2);
                message.setIntProperty("JMSXGroupSeq", 1 + number / 2);
                producer.send(message);
            }
            int all = 0;
            java.util.Map<String, MessageConsumer> owner = new java.util.HashMap<>();
            for (MessageConsumer consumer : List.of(first, second)) {
                Message message;
                while ((message = consumer.receive(Checks.NEVER)) != null) {
                    all++;
                    MessageConsumer before = owner.putIfAbsent(((TextMessage) message).getText(), consumer);
                    Checks.same(true, before == null || before == consumer);
                }
            }
            Checks.same(20, all);
        }
    }

    public static void recoveredMessagesComeAgainAndSaySo() throws JMSException {
        Queue queue = Checks.queue("recover");
        try (Connection connection = Checks.connect(null);
                Session session = connection.createSession(Session.CLIENT_ACKNOWLEDGE)) {
            session.createProducer(queue).send(session.createTextMessage("again"));
            MessageConsumer consumer = session.createConsumer(queue);
            Checks.same(false, consumer.receive(Checks.SOON).getJMSRedelivered());
            session.recover();
            Message message = consumer.receive(Checks.SOON);
            Checks.same(true, message.getJMSRedelivered());
            Checks.same(2, message.getIntProperty("JMSXDeliveryCount"));
            message.acknowledge();
        }
    }

    public static void anAnonymousProducerSendsAnywhere() throws JMSException {
        try (Connection connection = Checks.connect(null); Session session = connection.createSession()) {
            MessageConsumer topic = session.createConsumer(Checks.topic("anonymous"));
            MessageProducer producer = session.createProducer(null);
            producer.send(Checks.queue("anonymous"), session.createTextMessage("to a queue"));
            producer.send(Checks.topic("anonymous"), session.createTextMessage("to a topic"));
            Checks.same("to a topic", Checks.text(topic));
            Checks.same(List.of("to a queue"), Checks.drain(session, Checks.queue("anonymous")));
        }
    }

    public static void aSelectorThatIsNoneIsRefused() throws JMSException {
        try (Connection connection = Checks.connect(null); Session session = connection.createSession()) {
            session.createConsumer(Checks.queue("bad"), "a = ");
        } catch (InvalidSelectorException refused) {
            return;
        }
        throw new AssertionError("taken");
    }

    private Queues() {}
}
