import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.Map;
import java.util.UUID;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Asks one question through quern with nothing but the ordinary Kafka client, and prints the reply's JSON.
 *
 * <p>java -cp 'FOLDER-OF-KAFKA-JARS/*' Ask.java [BROKERS] [PREFIX] QUESTION
 */
public class Ask {
    public static void main(String[] args) throws Exception {
        String question = args[args.length - 1];
        String brokers = args.length > 1 ? args[0] : "127.0.0.1:9092";
        String prefix = args.length > 2 ? args[1] : "quern";
        String id = UUID.randomUUID().toString();
        Map<String, Object> settings = Map.of("bootstrap.servers", brokers);
        StringDeserializer reads = new StringDeserializer();
        StringSerializer writes = new StringSerializer();

        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings, reads, reads);
                KafkaProducer<String, String> producer = new KafkaProducer<>(settings, writes, writes)) {
            // Take up the replies before asking, from where their topic ends now.
            consumer.assign(
                    consumer.partitionsFor(prefix + ".replies").stream()
                            .map(p -> new TopicPartition(p.topic(), p.partition()))
                            .toList());
            consumer.seekToEnd(consumer.assignment());
            consumer.assignment().forEach(consumer::position);

            ProducerRecord<String, String> request =
                    new ProducerRecord<>(prefix + ".requests", id, "{\"id\":\"" + id + "\",\"input\":" + quote(question) + "}");
            request.headers().add("content-type", "application/json".getBytes(StandardCharsets.UTF_8));
            producer.send(request).get();

            Instant end = Instant.now().plusSeconds(60);
            while (Instant.now().isBefore(end)) {
                for (var record : consumer.poll(Duration.ofMillis(200))) {
                    if (id.equals(record.key())) {
                        System.out.println(record.value());
                        return;
                    }
                }
            }
        }
        System.err.println("no reply within a minute");
        System.exit(1);
    }

    /** A text as JSON writes it. */
    static String quote(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') out.append('\\').append(c);
            else if (c < ' ') out.append(String.format("\\u%04x", (int) c));
            else out.append(c);
        }
        return out.append('"').toString();
    }
}
