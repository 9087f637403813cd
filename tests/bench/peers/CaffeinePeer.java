/* Caffeine, driven like the others: the same files of requests, passes and lines of JSON as
 * driver.c has them. Keys are boxed longs, values arrays of bytes, entries weigh their bytes. */
import com.github.benmanes.caffeine.cache.Cache;
import com.github.benmanes.caffeine.cache.Caffeine;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.LongBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.CyclicBarrier;

public final class CaffeinePeer {
    private static final long MAGIC = 0x31737165726e7266L;
    private static final long FILLER = 0x0101010101010101L;
    private static final int BATCH = 16;
    private static final int SAMPLE_EVERY = 16;
    private static final int CHECKED = 1000;
    private static final VarHandle WORDS =
            MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

    private enum Kind { REQUESTS, SAMPLED, BATCHES, FILL }

    private static String name = "caffeine";
    private static String label = "";
    private static long round;
    private static int value = 100;
    private static int keys;
    private static int count;
    private static final List<String> files = new ArrayList<>();

    private static long overhead = Long.MAX_VALUE;

    /* A file of requests: two words each, the key, and the size with the flag of puts above it. */
    private static final class Requests {
        final long keys;
        final long bytes;
        final long sizeMax;
        final long[] words;
        int at;

        Requests(String path) throws Exception {
            try (FileChannel channel = FileChannel.open(Path.of(path))) {
                ByteBuffer buffer = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size())
                        .order(ByteOrder.LITTLE_ENDIAN);
                LongBuffer longs = buffer.asLongBuffer();
                if (longs.get(0) != MAGIC) {
                    throw new IllegalStateException("not a file of requests");
                }
                words = new long[Math.toIntExact(longs.get(1) * 2)];
                keys = longs.get(2);
                bytes = longs.get(3);
                sizeMax = longs.get(4);
                longs.position(8);
                longs.get(words);
            }
        }

        int total() {
            return words.length / 2;
        }
    }

    private static long keyOf(long id) {
        long z = id + 0x9e3779b97f4a7c15L;
        z = (z ^ z >>> 30) * 0xbf58476d1ce4e5b9L;
        z = (z ^ z >>> 27) * 0x94d049bb133111ebL;
        return z ^ z >>> 31;
    }

    private static long touch(byte[] bytes) {
        long sum = 0;
        for (int i = 0; i + 8 <= bytes.length; i += 8) {
            sum += (long) WORDS.get(bytes, i);
        }
        return sum;
    }

    private static long sumOf(long key, int size) {
        return size < 8 ? 0 : key + (size / 8 - 1) * FILLER;
    }

    /* The others copy the value that is put; here the cache keeps the array, so a new one is made. */
    private static byte[] makeValue(long key, byte[] pattern, int size) {
        byte[] bytes = Arrays.copyOf(pattern, size);
        if (size >= 8) {
            WORDS.set(bytes, 0, key);
        }
        return bytes;
    }

    private static final class Job extends Thread {
        Cache<Long, byte[]> cache;
        Requests source;
        Kind kind;
        int first;
        int step;
        int requests;
        CyclicBarrier barrier;
        long began;
        long ended;
        long gets;
        long hits;
        long getBytes;
        long hitBytes;
        boolean wrong;
        long[] latencies = {};

        @Override
        public void run() {
            byte[] pattern = new byte[source != null ? (int) Math.max(value, source.sizeMax) : value];
            Arrays.fill(pattern, (byte) 1);
            try {
                barrier.await();
            } catch (InterruptedException | BrokenBarrierException e) {
                throw new IllegalStateException(e);
            }
            began = System.nanoTime();
            switch (kind) {
                case FILL:
                    for (int i = 0; i < requests; i++) {
                        cache.put(keyOf(first + i), makeValue(keyOf(first + i), pattern, value));
                    }
                    break;
                case BATCHES:
                    batches();
                    break;
                case SAMPLED:
                    latencies = new long[requests / SAMPLE_EVERY + 1];
                    requests(pattern, true);
                    break;
                default:
                    requests(pattern, false);
                    break;
            }
            ended = System.nanoTime();
        }

        private void requests(byte[] pattern, boolean sampled) {
            long[] words = source.words;
            int total = source.total();
            int at = first % total;
            int samples = 0;
            long got = 0;
            long expected = 0;
            boolean fixed = source.bytes == 0;
            for (int i = 0; i < requests; i++) {
                Long key = words[2 * at];
                long rest = words[2 * at + 1];
                int size = fixed ? value : (int) rest;
                at += step;
                at = at < total ? at : at - total;
                boolean timed = sampled && i % SAMPLE_EVERY == 0;
                long start = timed ? System.nanoTime() : 0;
                if (rest >>> 32 != 0) {
                    cache.put(key, makeValue(key, pattern, size));
                } else {
                    gets++;
                    getBytes += size;
                    byte[] found = cache.getIfPresent(key);
                    if (found != null) {
                        got += touch(found);
                        hits++;
                        hitBytes += size;
                        expected += sumOf(key, size);
                    } else {
                        cache.put(key, makeValue(key, pattern, size));
                    }
                }
                if (timed) {
                    latencies[samples++] = Math.max(0, System.nanoTime() - start - overhead);
                }
            }
            if (sampled) {
                latencies = Arrays.copyOf(latencies, samples);
            }
            wrong = got != expected;
        }

        private void batches() {
            int total = source.total();
            int at = first % total;
            long got = 0;
            long expected = 0;
            Long[] names = new Long[BATCH];
            for (int i = 0; i < requests; i += BATCH) {
                for (int n = 0; n < BATCH; n++) {
                    names[n] = source.words[2 * at];
                    at = at + 1 < total ? at + 1 : 0;
                }
                Map<Long, byte[]> found = cache.getAllPresent(Arrays.asList(names));
                for (Long key : names) { /* a key may be there twice */
                    byte[] bytes = found.get(key);
                    if (bytes != null) {
                        hits++;
                        got += touch(bytes);
                        expected += sumOf(key, value);
                    }
                }
                gets += BATCH;
            }
            wrong = got != expected;
        }
    }

    private static final class Outcome {
        long requests;
        double seconds;
        long gets;
        long hits;
        long getBytes;
        long hitBytes;
        long[] latencies = {};
    }

    private static Outcome pass(Cache<Long, byte[]> cache, Requests source, Kind kind, int requests,
            int threads) throws Exception {
        boolean inTurns = source != null && source.bytes != 0;
        int share = requests / threads;
        CyclicBarrier barrier = new CyclicBarrier(threads);
        Job[] jobs = new Job[threads];
        for (int i = 0; i < threads; i++) {
            jobs[i] = new Job();
            jobs[i].cache = cache;
            jobs[i].source = source;
            jobs[i].kind = kind;
            jobs[i].first = (source != null ? source.at : 0) + (inTurns ? i : i * share);
            jobs[i].step = inTurns ? threads : 1;
            jobs[i].requests = share;
            jobs[i].barrier = barrier;
        }
        for (Job job : jobs) {
            job.start();
        }
        Outcome result = new Outcome();
        long began = Long.MAX_VALUE;
        long ended = Long.MIN_VALUE;
        for (Job job : jobs) {
            job.join();
            if (job.wrong) {
                throw new IllegalStateException("the cache gave wrong values");
            }
            began = Math.min(began, job.began);
            ended = Math.max(ended, job.ended);
            result.gets += job.gets;
            result.hits += job.hits;
            result.getBytes += job.getBytes;
            result.hitBytes += job.hitBytes;
            int filled = result.latencies.length;
            result.latencies = Arrays.copyOf(result.latencies, filled + job.latencies.length);
            System.arraycopy(job.latencies, 0, result.latencies, filled, job.latencies.length);
        }
        Arrays.sort(result.latencies);
        result.requests = (long) share * threads;
        result.seconds = (ended - began) / 1e9;
        if (source != null && !inTurns) {
            source.at = (int) ((source.at + result.requests) % source.total());
        }
        return result;
    }

    /* ---- lines ---- */

    private static StringBuilder line(String workload, int threads) {
        String version = Cache.class.getPackage().getImplementationVersion();
        return new StringBuilder(String.format(Locale.ROOT,
                "{\"peer\": \"%s\", \"version\": \"%s, Java %s\", \"workload\": \"%s\", "
                        + "\"round\": %d, \"value_bytes\": %d, \"threads\": %d",
                name, version != null ? version : System.getProperty("caffeine.version", "?"),
                System.getProperty("java.version"), workload, round, value, threads));
    }

    private static void add(StringBuilder line, Outcome outcome) {
        line.append(String.format(Locale.ROOT,
                ", \"requests\": %d, \"ns_per_op\": %.5g, \"ops_per_s\": %.5e", outcome.requests,
                outcome.seconds * 1e9 / outcome.requests, outcome.requests / outcome.seconds));
        if (outcome.gets != 0) {
            line.append(String.format(Locale.ROOT, ", \"hit_ratio\": %.5f",
                    (double) outcome.hits / outcome.gets));
        }
        if (outcome.getBytes != 0) {
            line.append(String.format(Locale.ROOT, ", \"byte_hit_ratio\": %.5f",
                    (double) outcome.hitBytes / outcome.getBytes));
        }
        long[] sorted = outcome.latencies;
        if (sorted.length != 0) {
            line.append(String.format(Locale.ROOT,
                    ", \"p50_ns\": %d, \"p90_ns\": %d, \"p99_ns\": %d, \"p999_ns\": %d",
                    sorted[sorted.length / 2], sorted[(int) (sorted.length * 0.9)],
                    sorted[(int) (sorted.length * 0.99)], sorted[(int) (sorted.length * 0.999)]));
        }
    }

    private static void tell(StringBuilder line) {
        System.out.println(line.append('}'));
        System.out.flush();
    }

    private static long entries(Cache<Long, byte[]> cache) {
        cache.cleanUp();
        return cache.estimatedSize();
    }

    private static void measure(Cache<Long, byte[]> cache, Requests source, String workload,
            int threads) throws Exception {
        Outcome timed = pass(cache, source, Kind.REQUESTS, count, threads);
        timed.latencies = pass(cache, source, Kind.SAMPLED, count / 4, threads).latencies;
        StringBuilder line = line(workload, threads);
        add(line, timed);
        tell(line.append(", \"entries\": ").append(entries(cache)));
    }

    /* The heap in use after a collection: what the process holds says nothing with a heap of a
     * fixed size. */
    private static long heapBytes() throws Exception {
        for (int i = 0; i < 3; i++) {
            System.gc();
            Thread.sleep(20);
        }
        return Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory();
    }

    private static void tellMemory(String workload, Cache<Long, byte[]> cache, long before)
            throws Exception {
        long entries = entries(cache);
        long bytes = heapBytes() - before;
        tell(line(workload, 1).append(String.format(Locale.ROOT,
                ", \"entries\": %d, \"resident_bytes\": %d, \"extra_bytes_per_entry\": %.2f",
                entries, bytes, (double) bytes / entries - 8 - value)));
    }

    /* ---- workloads ---- */

    private static Cache<Long, byte[]> open(long capacity) {
        return Caffeine.newBuilder().maximumWeight(capacity)
                .weigher((Long key, byte[] bytes) -> 8 + bytes.length).build();
    }

    private static void check(Cache<Long, byte[]> cache) {
        byte[] pattern = new byte[value];
        Arrays.fill(pattern, (byte) 1);
        for (int i = 0; i < CHECKED; i++) {
            long key = keyOf(i);
            byte[] found = cache.getIfPresent(key);
            if (found == null || touch(found) != sumOf(key, value)) {
                throw new IllegalStateException("what was put is not there");
            }
            cache.put(key, makeValue(~key, pattern, value));
            found = cache.getIfPresent(key);
            if (found == null || touch(found) != sumOf(~key, value)) {
                throw new IllegalStateException("an overwrite took no effect");
            }
            cache.put(key, makeValue(key, pattern, value));
            if (cache.getIfPresent(keyOf(keys + i)) != null) {
                throw new IllegalStateException("a key that was never put is there");
            }
        }
    }

    private static void resident() throws Exception {
        Requests reads = new Requests(files.get(0));
        Requests updates = new Requests(files.get(1));
        long before = heapBytes();
        Cache<Long, byte[]> cache = open((long) keys * (8 + value + 512));
        Outcome filled = pass(cache, null, Kind.FILL, keys, 1);
        StringBuilder line = line("fill", 1);
        add(line, filled);
        tell(line);
        tellMemory("memory", cache, before);
        check(cache);
        pass(cache, reads, Kind.REQUESTS, count, 1); /* compiles */
        pass(cache, reads, Kind.SAMPLED, count / 4, 1);
        measure(cache, reads, "read", 1);
        pass(cache, reads, Kind.BATCHES, count / 4, 1);
        line = line("batch", 1);
        add(line, pass(cache, reads, Kind.BATCHES, count, 1));
        tell(line);
        measure(cache, reads, "read", 2);
        pass(cache, updates, Kind.REQUESTS, count / 4, 1);
        measure(cache, updates, "update", 1);
        measure(cache, updates, "update", 2);
    }

    private static void churn() throws Exception {
        Requests source = new Requests(files.get(0));
        long before = heapBytes();
        Cache<Long, byte[]> cache = open(source.keys / 4 * (8 + value));
        pass(cache, source, Kind.REQUESTS, count, 1);
        pass(cache, source, Kind.SAMPLED, count / 4, 1);
        measure(cache, source, "churn", 1);
        measure(cache, source, "churn", 2);
        tellMemory("churn memory", cache, before);
    }

    private static void trace() throws Exception {
        Requests source = new Requests(files.get(0));
        /* Into a cache that is thrown away, for the compiler. */
        pass(open(source.bytes / 10), source, Kind.REQUESTS, source.total(), 1);
        for (int threads = 1; threads <= 2; threads++) {
            Cache<Long, byte[]> cache = open(source.bytes / 10);
            StringBuilder line = line("trace", threads).append(", \"trace\": \"" + label + "\"");
            add(line, pass(cache, source, Kind.REQUESTS, source.total(), threads));
            tell(line.append(", \"entries\": ").append(entries(cache)));
        }
    }

    public static void main(String[] args) throws Exception {
        String workload = "";
        for (int i = 0; i < args.length; i++) {
            if (!args[i].startsWith("--")) {
                workload = args[i];
                continue;
            }
            String given = args[++i];
            switch (args[i - 1]) {
                case "--name": name = given; break;
                case "--requests": files.add(given); break;
                case "--round": round = Long.parseLong(given); break;
                case "--value": value = Integer.parseInt(given); break;
                case "--keys": keys = Integer.parseInt(given); break;
                case "--count": count = Integer.parseInt(given); break;
                case "--label": label = given; break;
                default: break; /* --variant, --folder: not needed here */
            }
        }
        for (int i = 0; i < 1000000; i++) {
            long start = System.nanoTime();
            overhead = Math.min(overhead, System.nanoTime() - start);
        }
        switch (workload) {
            case "resident": resident(); break;
            case "churn": churn(); break;
            case "trace": value = 0; trace(); break;
            default: throw new IllegalArgumentException("no such workload: " + workload);
        }
    }
}
