import jakarta.jms.BytesMessage;
import jakarta.jms.Connection;
import jakarta.jms.JMSException;
import jakarta.jms.MessageConsumer;
import jakarta.jms.MessageProducer;
import jakarta.jms.Queue;
import jakarta.jms.Session;

/** Messages of many frames. */
final class Sizes {
    private static final int MEBIBYTE = 1 << 20;
    /** A client that waits for the gateway while that waits for it goes on after half a minute. */
    private static final long AT_ONCE = 10_000;

    public static void aMessageOfAnySizeIsSentAtOnce() throws JMSException {
        Queue queue = Checks.queue("sizes");
        try (Connection connection = Checks.connect(null)) {
            Session session = connection.createSession();
            MessageProducer producer = session.createProducer(queue);
            for (int mebibytes : new int[] {1, 2, 3, 8, 18}) {
                BytesMessage message = session.createBytesMessage();
                message.writeBytes(new byte[mebibytes * MEBIBYTE]);
                long begun = System.currentTimeMillis();
                producer.send(message);
                long took = System.currentTimeMillis() - begun;
                if (took > AT_ONCE) {
                    throw new AssertionError(mebibytes + " MiB took " + took + " ms");
                }
            }
        }
        try (Connection connection = Checks.connect(null); Session session = connection.createSession()) {
            MessageConsumer consumer = session.createConsumer(queue);
            for (int mebibytes : new int[] {1, 2, 3, 8, 18}) {
                BytesMessage message = (BytesMessage) consumer.receive(AT_ONCE);
                Checks.same((long) mebibytes * MEBIBYTE, message.getBodyLength());
            }
        }
    }

    private Sizes() {}
}
