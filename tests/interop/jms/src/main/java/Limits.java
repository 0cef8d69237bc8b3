import jakarta.jms.Connection;
import jakarta.jms.JMSException;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.Queue;
import jakarta.jms.Session;
import jakarta.jms.TransactionRolledBackException;
import java.util.List;

/** What a gateway with small limits does. They are in test_amqp_jms.py. */
final class Limits {
    /** `unsettled_per_link_max`. */
    private static final int HELD = 10;

    public static void aCommitOfTooManyMessagesIsRolledBackForCertain() throws JMSException {
        refused(Checks.queue("tx-too-many"), 5, 0);
    }

    public static void aCommitToAFullQueueIsRolledBackForCertain() throws JMSException {
        Queue queue = Checks.queue("full");
        try (Connection connection = Checks.connect(null)) {
            Checks.fill(connection, queue, 2);
        }
        refused(queue, 1, 0);
    }

    public static void aCommitToAQueueThatIsNotMadeIsRolledBackForCertain() throws JMSException {
        refused(Checks.queue("not-made"), 1, 0);
    }

    public static void aCommitThatIsTooLateIsRolledBackForCertain() throws JMSException {
        refused(Checks.queue("tx-too-late"), 1, 2_500);
    }

    /** A consumer without a prefetch drains its link when it waits for a message in vain. */
    public static void aConsumerThatHoldsAsManyAsItMayFindsNoMore() throws JMSException {
        Queue queue = Checks.queue("held");
        try (Connection connection = Checks.connect(null, "jms.prefetchPolicy.all=0")) {
            Checks.fill(connection, queue, HELD + 5);
            Session session = connection.createSession(Session.CLIENT_ACKNOWLEDGE);
            MessageConsumer consumer = session.createConsumer(queue);
            Message last = null;
            for (int number = 0; number < HELD; number++) {
                last = consumer.receive(Checks.SOON);
            }
            Checks.nothing(consumer);
            Checks.same(true, consumer.receiveNoWait() == null);
            last.acknowledge();
            Checks.same("m" + HELD, Checks.text(consumer));
        }
    }

    public static void aBrowserSeesMoreThanAConsumerMayHold() throws JMSException {
        Queue queue = Checks.queue("browsed");
        for (String options : List.of("jms.prefetchPolicy.all=1000", "jms.prefetchPolicy.all=5")) {
            try (Connection connection = Checks.connect(null, options); Session session = connection.createSession()) {
                Checks.fill(connection, queue, 3 * HELD + 5);
                Checks.same(3 * HELD + 5, Checks.texts(session.createBrowser(queue).getEnumeration()).size());
                Checks.same(3 * HELD + 5, Checks.drain(session, queue).size());
            }
        }
    }

    /** A transaction that cannot commit; the session has another one afterwards. */
    private static void refused(Queue queue, int messages, long pause) throws JMSException {
        Queue works = Checks.queue("tx-works");
        try (Connection connection = Checks.connect(null)) {
            Session transacted = connection.createSession(Session.SESSION_TRANSACTED);
            for (int number = 0; number < messages; number++) {
                transacted.createProducer(queue).send(transacted.createTextMessage("never"));
            }
            Checks.pause(pause);
            try {
                transacted.commit();
                throw new AssertionError("it was committed");
            } catch (TransactionRolledBackException expected) {
                transacted.rollback();
            }
            transacted.createProducer(works).send(transacted.createTextMessage("one"));
            transacted.commit();
            Checks.same(List.of("one"), Checks.drain(connection.createSession(), works));
        }
    }

    private Limits() {}
}
