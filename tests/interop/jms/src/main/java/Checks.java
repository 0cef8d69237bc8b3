import jakarta.jms.Connection;
import jakarta.jms.ConnectionFactory;
import jakarta.jms.JMSException;
import jakarta.jms.Message;
import jakarta.jms.MessageConsumer;
import jakarta.jms.Queue;
import jakarta.jms.Session;
import jakarta.jms.TextMessage;
import jakarta.jms.Topic;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.Enumeration;
import java.util.List;
import org.apache.qpid.jms.JmsConnectionFactory;

/**
 * Runs every public static method of a class as a check, against the gateway at the address given as the first
 * argument; the others name the classes. Writes one line each: the name, and «ok» or the reason.
 */
public final class Checks {
    /** How long to wait for what must come. */
    static final long SOON = 5_000;
    /** How long to wait for what must not come. */
    static final long NEVER = 300;

    private static final List<Class<?>> ALL = new ArrayList<>();

    private static String address;
    private static ConnectionFactory factory;

    public static void main(String[] arguments) throws Exception {
        address = arguments[0];
        factory = new JmsConnectionFactory(address);
        for (int at = 1; at < arguments.length; at++) {
            ALL.add(Class.forName(arguments[at]));
        }
        for (Class<?> checks : ALL) {
            for (Method check : checks.getDeclaredMethods()) {
                if (Modifier.isPublic(check.getModifiers())) {
                    System.out.println(check.getName() + "\t" + run(check));
                }
            }
        }
        System.exit(0); // whatever connections a failed check left open
    }

    private static String run(Method check) throws IllegalAccessException {
        try {
            check.invoke(null);
            return "ok";
        } catch (InvocationTargetException thrown) {
            Throwable cause = thrown.getCause();
            StackTraceElement[] trace = cause.getStackTrace();
            for (StackTraceElement element : trace) {
                if (element.getFileName() != null && ALL.stream().anyMatch(c -> element.getClassName().equals(c.getName()))) {
                    return (cause + " at " + element).replace('\n', ' ');
                }
            }
            return cause.toString().replace('\n', ' ');
        }
    }

    /** A started connection, with a client id unless that is null. */
    static Connection connect(String clientId) throws JMSException {
        Connection connection = factory.createConnection();
        if (clientId != null) {
            connection.setClientID(clientId);
        }
        connection.start();
        return connection;
    }

    /** Sends `m0`, `m1` and so on. */
    static void fill(Connection connection, Queue queue, int messages) throws JMSException {
        try (Session session = connection.createSession()) {
            for (int number = 0; number < messages; number++) {
                session.createProducer(queue).send(session.createTextMessage("m" + number));
            }
        }
    }

    /** The same with options of its own. */
    static Connection connect(String clientId, String options) throws JMSException {
        ConnectionFactory before = factory;
        factory = new JmsConnectionFactory(address + "&" + options);
        try {
            return connect(clientId);
        } finally {
            factory = before;
        }
    }

    static Queue queue(String name) {
        return new org.apache.qpid.jms.JmsQueue("jms-" + name);
    }

    static Topic topic(String name) {
        return new org.apache.qpid.jms.JmsTopic("jms/" + name);
    }

    static void same(Object expected, Object found) {
        if (!expected.equals(found)) {
            throw new AssertionError("expected " + expected + ", found " + found);
        }
    }

    /** The next text, which must come. */
    static String text(MessageConsumer consumer) throws JMSException {
        Message message = consumer.receive(SOON);
        if (message == null) {
            throw new AssertionError("nothing came");
        }
        return ((TextMessage) message).getText();
    }

    static void nothing(MessageConsumer consumer) throws JMSException {
        Message message = consumer.receive(NEVER);
        if (message != null) {
            throw new AssertionError("came: " + ((TextMessage) message).getText());
        }
    }

    static List<String> texts(Enumeration<?> messages) throws JMSException {
        List<String> found = new ArrayList<>();
        while (messages.hasMoreElements()) {
            found.add(((TextMessage) messages.nextElement()).getText());
        }
        return found;
    }

    static void pause(long millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException interrupted) {
            throw new AssertionError(interrupted);
        }
    }

    /** What is in a queue, taken out. */
    static List<String> drain(Session session, Queue queue) throws JMSException {
        List<String> found = new ArrayList<>();
        try (MessageConsumer consumer = session.createConsumer(queue)) {
            Message message;
            while ((message = consumer.receive(NEVER)) != null) {
                found.add(((TextMessage) message).getText());
            }
        }
        return found;
    }

    private Checks() {}
}
