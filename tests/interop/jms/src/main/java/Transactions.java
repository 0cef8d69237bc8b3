import jakarta.jms.Connection;
import jakarta.jms.JMSException;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.Queue;
import jakarta.jms.Session;
import jakarta.jms.TextMessage;
import java.util.List;

/** Transacted sessions. */
final class Transactions {
    public static void whatIsSentIsThereAfterTheCommitAndNotBefore() throws JMSException {
        Queue queue = Checks.queue("tx-send");
        try (Connection connection = Checks.connect(null)) {
            Session transacted = connection.createSession(Session.SESSION_TRANSACTED);
            Session other = connection.createSession();
            MessageConsumer consumer = other.createConsumer(queue);
            transacted.createProducer(queue).send(transacted.createTextMessage("one"));
            transacted.createProducer(queue).send(transacted.createTextMessage("two"));
            Checks.nothing(consumer);
            transacted.commit();
            Checks.same("one", Checks.text(consumer));
            Checks.same("two", Checks.text(consumer));
            transacted.createProducer(queue).send(transacted.createTextMessage("never"));
            transacted.rollback();
            Checks.nothing(consumer);
        }
    }

    public static void whatWasReceivedComesAgainAfterARollback() throws JMSException {
        Queue queue = Checks.queue("tx-receive");
        try (Connection connection = Checks.connect(null)) {
            Session plain = connection.createSession();
            plain.createProducer(queue).send(plain.createTextMessage("one"));
            plain.createProducer(queue).send(plain.createTextMessage("two"));
            Session transacted = connection.createSession(Session.SESSION_TRANSACTED);
            MessageConsumer consumer = transacted.createConsumer(queue);
            Checks.same("one", Checks.text(consumer));
            Checks.same("two", Checks.text(consumer));
            transacted.rollback();
            Message message = consumer.receive(Checks.SOON);
            Checks.same("one", ((TextMessage) message).getText());
            Checks.same(true, message.getJMSRedelivered());
            Checks.same(2, message.getIntProperty("JMSXDeliveryCount"));
            Checks.same("two", Checks.text(consumer));
            transacted.commit();
            consumer.close();
            Checks.same(List.of(), Checks.drain(plain, queue));
        }
    }

    public static void aMoveFromQueueToQueueIsAllOrNothing() throws JMSException {
        Queue from = Checks.queue("tx-from");
        Queue to = Checks.queue("tx-to");
        try (Connection connection = Checks.connect(null)) {
            Session plain = connection.createSession();
            plain.createProducer(from).send(plain.createTextMessage("moved"));
            Session transacted = connection.createSession(Session.SESSION_TRANSACTED);
            MessageConsumer consumer = transacted.createConsumer(from);
            transacted.createProducer(to).send(consumer.receive(Checks.SOON));
            transacted.rollback();
            Checks.same(List.of(), Checks.drain(plain, to));
            transacted.createProducer(to).send(consumer.receive(Checks.SOON));
            transacted.commit();
            consumer.close();
            Checks.same(List.of(), Checks.drain(plain, from));
            Checks.same(List.of("moved"), Checks.drain(plain, to));
        }
    }

    public static void aSessionThatClosesRollsBack() throws JMSException {
        Queue queue = Checks.queue("tx-close");
        try (Connection connection = Checks.connect(null); Session plain = connection.createSession()) {
            plain.createProducer(queue).send(plain.createTextMessage("stays"));
            try (Session transacted = connection.createSession(Session.SESSION_TRANSACTED)) {
                MessageConsumer consumer = transacted.createConsumer(queue);
                Checks.same("stays", Checks.text(consumer));
                transacted.createProducer(queue).send(transacted.createTextMessage("never"));
            }
            Checks.same(List.of("stays"), Checks.drain(plain, queue));
        }
    }

    public static void manySmallTransactionsInARow() throws JMSException {
        Queue queue = Checks.queue("tx-many");
        try (Connection connection = Checks.connect(null)) {
            Session transacted = connection.createSession(Session.SESSION_TRANSACTED);
            for (int number = 0; number < 100; number++) {
                transacted.createProducer(queue).send(transacted.createTextMessage("m" + number));
                if (number % 10 == 9) {
                    transacted.rollback();
                } else {
                    transacted.commit();
                }
            }
            MessageConsumer consumer = transacted.createConsumer(queue);
            for (int number = 0; number < 100; number++) {
                if (number % 10 != 9) {
                    Checks.same("m" + number, Checks.text(consumer));
                    transacted.commit();
                }
            }
            Checks.nothing(consumer);
        }
    }

    private Transactions() {}
}
