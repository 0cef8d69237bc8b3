import jakarta.jms.Connection;
import jakarta.jms.JMSException;
import jakarta.jms.Queue;
import jakarta.jms.Session;
import jakarta.jms.TransactionRolledBackException;
import java.util.List;

/** What a gateway with small limits does. They are in test_amqp_jms.py. */
final class Limits {
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
