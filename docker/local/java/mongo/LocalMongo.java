import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.backend.QueryResult;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import de.bwaldvogel.mongo.wire.message.MongoQuery;
import io.netty.channel.Channel;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.Lock;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.Supplier;
import org.h2.mvstore.MVStore;

/**
 * MongoDB's wire protocol on one H2 file: LocalMongo FILE PORT.
 *
 * H2 alone would write its file at any moment, also between the index entry and the document of one insert, and a
 * kill -9 would keep that half. Here it is written only between commands, every COMMIT_EVERY_MS: after a kill the file
 * holds every command up to some moment and none after it, which is what the product worker's watermark needs.
 */
public final class LocalMongo {
    private static final long COMMIT_EVERY_MS = 250;
    private static final int MIN_FILL_PERCENT = 50;
    private static final int COMPACT_BYTES = 4 << 20;
    private static final int REUSE_SPACE_AFTER_MS = 1_000; // H2's 45 s let the file grow by 25 MB a second under load

    /** Commands share the lock; writing the file takes it alone. */
    private static final class Backend extends H2Backend {
        private final ReadWriteLock lock = new ReentrantReadWriteLock(true);

        Backend(MVStore store) {
            super(store);
        }

        @Override
        public Document handleMessage(MongoMessage message) {
            return locked(lock.readLock(), () -> super.handleMessage(message));
        }

        @Override
        public Document handleCommand(Channel channel, String database, String command, Document query) {
            return locked(lock.readLock(), () -> super.handleCommand(channel, database, command, query));
        }

        @Override
        public QueryResult handleQuery(MongoQuery query) {
            return locked(lock.readLock(), () -> super.handleQuery(query));
        }

        void save() {
            locked(lock.writeLock(), () -> {
                getMvStore().commit();
                return getMvStore().compact(MIN_FILL_PERCENT, COMPACT_BYTES); // does nothing above that fill rate
            });
        }

        private static <T> T locked(Lock lock, Supplier<T> work) {
            lock.lock();
            try {
                return work.get();
            } finally {
                lock.unlock();
            }
        }
    }

    public static void main(String[] args) throws InterruptedException {
        MVStore store = new MVStore.Builder().fileName(args[0]).cacheSize(64).autoCommitDisabled().open();
        store.setRetentionTime(REUSE_SPACE_AFTER_MS);
        Backend backend = new Backend(store);
        MongoServer server = new MongoServer(backend);
        server.bind("127.0.0.1", Integer.parseInt(args[1]));
        AtomicBoolean asked = new AtomicBoolean();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            asked.set(true);
            server.shutdownNow(); // closes the store, which writes the rest
        }));

        try {
            while (!store.isClosed()) {
                TimeUnit.MILLISECONDS.sleep(COMMIT_EVERY_MS);
                if (store.hasUnsavedChanges())
                    backend.save();
            }
        } catch (RuntimeException reason) {
            if (!asked.get())
                reason.printStackTrace();
        }
        if (!asked.get()) // a full disk, for one, closes the store: stop rather than answer from memory alone
            Runtime.getRuntime().halt(1);
    }
}
