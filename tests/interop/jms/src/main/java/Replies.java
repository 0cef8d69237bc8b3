import jakarta.jms.Connection;
import jakarta.jms.Destination;
import jakarta.jms.JMSException;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.Queue;
import jakarta.jms.Session;
import jakarta.jms.TextMessage;
import jakarta.jms.Topic;

/** Requests to and from clients of other protocols, which are in test_amqp_jms.py. */
final class Replies {
    public static void aStompResponderAnswersToAQueue() throws JMSException {
        answered("stomp", Checks.queue("stomp-answers"));
    }

    public static void aStompResponderAnswersToATopic() throws JMSException {
        answered("stomp", Checks.topic("stomp-answers"));
    }

    public static void anMqttResponderAnswersToAQueue() throws JMSException {
        answered("mqtt", Checks.queue("mqtt-answers"));
    }

    public static void anMqttResponderAnswersToATopic() throws JMSException {
        answered("mqtt", Checks.topic("mqtt-answers"));
    }

    public static void aStompRequesterIsAnsweredAtItsQueueAndItsTopic() throws JMSException {
        answers("stomp");
    }

    public static void anMqttRequesterIsAnsweredAtItsQueueAndItsTopic() throws JMSException {
        answers("mqtt");
    }

    public static void aSelectorKnowsWhereToAnswer() throws JMSException {
        Queue queue = Checks.queue("selected-replies");
        try (Connection connection = Checks.connect(null); Session session = connection.createSession()) {
            for (Destination to : new Destination[] {Checks.queue("selected"), Checks.topic("selected")}) {
                TextMessage message = session.createTextMessage(to.getClass().getSimpleName());
                message.setJMSReplyTo(to);
                session.createProducer(queue).send(message);
            }
            Checks.same("JmsTopic", Checks.text(session.createConsumer(queue, "JMSReplyTo = '/topic/jms/selected'")));
            Checks.same("JmsQueue", Checks.text(session.createConsumer(queue, "JMSReplyTo = '/queue/jms-selected'")));
        }
    }

    private static void answered(String protocol, Destination to) throws JMSException {
        try (Connection connection = Checks.connect(null); Session session = connection.createSession()) {
            MessageConsumer consumer = session.createConsumer(to);
            TextMessage request = session.createTextMessage("question");
            request.setJMSReplyTo(to);
            session.createProducer(Checks.queue(protocol + "-requests")).send(request);
            Message answer = consumer.receive(Checks.SOON);
            Checks.same("re: question", answer == null ? "nothing" : answer.isBodyAssignableTo(String.class)
                    ? answer.getBody(String.class) : new String(answer.getBody(byte[].class)));
        }
    }

    /** One request to answer at a queue, and one at a topic. */
    private static void answers(String protocol) throws JMSException {
        try (Connection connection = Checks.connect(null); Session session = connection.createSession()) {
            MessageConsumer consumer = session.createConsumer(Checks.queue("requests-by-" + protocol));
            for (Class<?> kind : new Class<?>[] {Queue.class, Topic.class}) {
                Message request = consumer.receive(Checks.SOON);
                Destination to = request.getJMSReplyTo();
                Checks.same(kind, to instanceof Topic ? Topic.class : Queue.class);
                session.createProducer(null).send(to, session.createTextMessage(kind.getSimpleName()));
            }
        }
    }

    private Replies() {}
}
