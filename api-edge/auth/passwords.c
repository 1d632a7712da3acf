#include "auth/passwords.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tillwire/metrics.h"
#include "tillwire/processors.h"
#include "tillwire/pulse.h"

#define WHERE "edge.passwords"

/** libsodium's parameters for logins: 64 MiB, two passes; about 60 ms of one core. Old hashes keep their own numbers. */
#define MEMORY_BYTES crypto_pwhash_MEMLIMIT_INTERACTIVE
#define PASSES       crypto_pwhash_OPSLIMIT_INTERACTIVE
enum { SUM_BYTES = 32, KBYTES_MAX = crypto_pwhash_MEMLIMIT_SENSITIVE / 1024 }; /* libsodium's largest for files */
enum { NICENESS = 10 }; /* what requests leave of the processors; a tenth of one when they leave nothing */

_Static_assert(crypto_pwhash_STRBYTES <= TW_PASSWORD_HASH_MAX, "room for a hash");

struct job {
    struct job    *next;
    struct tw_str  password;
    const char    *hash; /* NULL: make one */
    char           made[TW_PASSWORD_HASH_MAX];
    bool           matches;
    bool           done;
    pthread_cond_t finished;
};

struct tw_passwords {
    pthread_mutex_t lock; /* guards all below and the jobs */
    pthread_cond_t  work;
    struct job     *first;
    struct job    **last;
    size_t          queued;
    size_t          queue_max;
    bool            stopping;
    size_t          thread_count;
    pthread_t      *threads;
    char            nobody[TW_PASSWORD_HASH_MAX]; /* what an unknown account's password is compared with */
};

static struct tw_metric refused = {.name = "tillwire_edge_passwords_refused_total",
                                   .kind = TW_COUNTER,
                                   .help = "Password checks refused because the pool's queue was full."};
static struct tw_metric waiting = {
    .name = "tillwire_edge_passwords_waiting", .kind = TW_GAUGE, .help = "Password checks in the pool's queue."};
TW_METRICS_SHOWN(&refused, &waiting)

/* --- one password ------------------------------------------------------------------------------------------------- */

/** What a hash says of itself; libsodium's have one lane, and a salt and a sum of these lengths. */
struct parts {
    int64_t kbytes;
    int64_t passes;
    uint8_t salt[crypto_pwhash_SALTBYTES];
    uint8_t sum[SUM_BYTES];
};

static bool take_text(const char **at, const char *text)
{
    size_t len = strlen(text);
    bool   is_there = strncmp(*at, text, len) == 0;

    *at += is_there ? len : 0;
    return is_there;
}

static bool take_number(const char **at, int64_t *ret_number)
{
    struct tw_str digits = {*at, strspn(*at, "0123456789")};

    *at += digits.len;
    return tw_str_to_int(digits, ret_number);
}

static bool take_bytes(const char **at, uint8_t *ret_bytes, size_t len)
{
    size_t found = 0;

    return sodium_base642bin(ret_bytes, len, *at, strlen(*at), NULL, &found, at,
                             sodium_base64_VARIANT_ORIGINAL_NO_PADDING) == 0 &&
           found == len;
}

static bool read_hash(const char *at, struct parts *ret_parts)
{
    return take_text(&at, "$argon2id$v=19$m=") && take_number(&at, &ret_parts->kbytes) && take_text(&at, ",t=") &&
           take_number(&at, &ret_parts->passes) && take_text(&at, ",p=1$") &&
           take_bytes(&at, ret_parts->salt, sizeof(ret_parts->salt)) && take_text(&at, "$") &&
           take_bytes(&at, ret_parts->sum, sizeof(ret_parts->sum)) && *at == '\0';
}

/** Not by crypto_pwhash_str_verify(), which calls a right password wrong when there is no memory to tell. */
static bool matches(struct tw_str password, const char *hash)
{
    struct parts parts;
    uint8_t      sum[SUM_BYTES];

    if (!read_hash(hash, &parts) || parts.kbytes > KBYTES_MAX)
        return false;
    errno = 0;
    if (crypto_pwhash(sum, sizeof(sum), password.ptr, password.len, parts.salt, (unsigned long long)parts.passes,
                      (size_t)parts.kbytes * 1024, crypto_pwhash_ALG_ARGON2ID13) != 0) {
        if (errno == ENOMEM)
            tw_out_of_memory((size_t)parts.kbytes * 1024);
        return false; /* numbers that libsodium takes from nobody */
    }
    return sodium_memcmp(sum, parts.sum, sizeof(sum)) == 0;
}

static void make(struct tw_str password, char ret_hash[TW_PASSWORD_HASH_MAX])
{
    if (crypto_pwhash_str_alg(ret_hash, password.ptr, password.len, PASSES, MEMORY_BYTES,
                              crypto_pwhash_ALG_ARGON2ID13) != 0)
        tw_out_of_memory(MEMORY_BYTES);
}

static void do_job(struct job *job)
{
    if (job->hash)
        job->matches = matches(job->password, job->hash);
    else
        make(job->password, job->made);
}

/* --- the pool ----------------------------------------------------------------------------------------------------- */

static struct job *take_job(struct tw_passwords *passwords)
{
    while (!passwords->first && !passwords->stopping)
        pthread_cond_wait(&passwords->work, &passwords->lock);
    struct job *job = passwords->first;
    if (!job)
        return NULL;
    passwords->first = job->next;
    if (!passwords->first)
        passwords->last = &passwords->first;
    passwords->queued--;
    tw_metric_set(&waiting, (int64_t)passwords->queued);
    return job;
}

static void *pool_main(void *self)
{
    struct tw_passwords *passwords = self;
    struct job          *job;

    pthread_setname_np(pthread_self(), "passwords");
    tw_pulse_begin("passwords");
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICENESS); /* on Linux a thread's own */
    pthread_mutex_lock(&passwords->lock);
    while ((job = take_job(passwords)) != NULL) {
        pthread_mutex_unlock(&passwords->lock);
        tw_pulse("hashing a password");
        do_job(job);
        tw_pulse_rest();
        pthread_mutex_lock(&passwords->lock);
        job->done = true;
        pthread_cond_signal(&job->finished);
    }
    pthread_mutex_unlock(&passwords->lock);
    tw_pulse_end();
    return NULL;
}

/* A storm of logins keeps every thread of the pool busy, and what runs on the same processor waits behind a hash for
 * milliseconds, whatever their priorities: half of the processors stay free of them. */
static size_t half_of_processors(void)
{
    int processors = tw_processors();

    return processors > 2 ? (size_t)processors / 2 : 1;
}

struct tw_passwords *tw_passwords_new(size_t threads, size_t queue)
{
    struct tw_passwords *passwords = tw_alloc_zeroed(1, sizeof(*passwords));
    struct job           job = {.password = TW_STR("no account has this password")};

    do_job(&job);
    memcpy(passwords->nobody, job.made, sizeof(job.made));
    passwords->last = &passwords->first;
    passwords->queue_max = queue;
    pthread_mutex_init(&passwords->lock, NULL);
    pthread_cond_init(&passwords->work, NULL);
    passwords->thread_count = threads ? threads : half_of_processors();
    passwords->threads = tw_alloc_zeroed(passwords->thread_count, sizeof(pthread_t));
    for (size_t i = 0; i < passwords->thread_count; i++) {
        if (pthread_create(&passwords->threads[i], NULL, pool_main, passwords) != 0)
            tw_out_of_memory(sizeof(pthread_t));
    }
    return passwords;
}

void tw_passwords_free(struct tw_passwords *passwords)
{
    if (!passwords)
        return;
    pthread_mutex_lock(&passwords->lock);
    passwords->stopping = true;
    pthread_cond_broadcast(&passwords->work);
    pthread_mutex_unlock(&passwords->lock);
    for (size_t i = 0; i < passwords->thread_count; i++)
        pthread_join(passwords->threads[i], NULL);
    pthread_cond_destroy(&passwords->work);
    pthread_mutex_destroy(&passwords->lock);
    free(passwords->threads);
    free(passwords);
}

bool tw_passwords_have_room(struct tw_passwords *passwords)
{
    pthread_mutex_lock(&passwords->lock);
    bool room = passwords->queued < passwords->queue_max;
    pthread_mutex_unlock(&passwords->lock);
    if (!room)
        tw_metric_add(&refused, 1);
    return room;
}

static enum tw_rc run(struct tw_passwords *passwords, struct job *job, struct tw_err *reterr)
{
    pthread_mutex_lock(&passwords->lock);
    if (passwords->queued >= passwords->queue_max) {
        pthread_mutex_unlock(&passwords->lock);
        tw_metric_add(&refused, 1);
        return tw_fail(reterr, TW_UNREACHED, WHERE, 0, "too many passwords wait to be checked");
    }
    pthread_cond_init(&job->finished, NULL);
    *passwords->last = job;
    passwords->last = &job->next;
    passwords->queued++;
    tw_metric_set(&waiting, (int64_t)passwords->queued);
    pthread_cond_signal(&passwords->work);
    while (!job->done)
        pthread_cond_wait(&job->finished, &passwords->lock);
    pthread_mutex_unlock(&passwords->lock);
    pthread_cond_destroy(&job->finished);
    return TW_OK;
}

enum tw_rc tw_passwords_hash(struct tw_passwords *passwords, struct tw_str password,
                             char ret_hash[TW_PASSWORD_HASH_MAX], struct tw_err *reterr)
{
    struct job job = {.password = password};

    TW_TRY(run(passwords, &job, reterr));
    memcpy(ret_hash, job.made, TW_PASSWORD_HASH_MAX);
    return TW_OK;
}

enum tw_rc tw_passwords_verify(struct tw_passwords *passwords, struct tw_str password, const char *hash,
                               bool *ret_matches, struct tw_err *reterr)
{
    struct job job = {.password = password, .hash = hash ? hash : passwords->nobody};

    TW_TRY(run(passwords, &job, reterr));
    *ret_matches = hash && job.matches;
    return TW_OK;
}

bool tw_password_hash_is_outdated(const char *hash)
{
    return crypto_pwhash_str_needs_rehash(hash, PASSES, MEMORY_BYTES) == 1;
}

bool tw_password_is_common(struct tw_str password)
{
    /* The heads of published leak statistics, 8 characters and more; shorter ones are refused by their length. */
    static const char *const common[] = {
        "12345678",   "123456789", "1234567890",    "password",   "password1",  "password12", "password123",
        "passw0rd",   "p@ssw0rd",  "p@ssword",      "qwertyui",   "qwertyuiop", "qwerty12",   "qwerty123",
        "qwerty1234", "1q2w3e4r",  "1q2w3e4r5t",    "1qaz2wsx",   "zaq12wsx",   "q1w2e3r4",   "asdfghjk",
        "asdfghjkl",  "zxcvbnm1",  "zxcvbnm123",    "abcd1234",   "abc12345",   "abc123456",  "aa123456",
        "a1234567",   "a12345678", "iloveyou",      "iloveyou1",  "iloveyou2",  "sunshine",   "sunshine1",
        "princess",   "princess1", "football",      "football1",  "baseball",   "baseball1",  "basketball",
        "superman",   "superman1", "batman123",     "trustno1",   "welcome1",   "welcome123", "letmein1",
        "letmein123", "whatever",  "starwars",      "computer",   "michelle",   "jennifer",   "jordan23",
        "liverpool",  "charlie1",  "michael1",      "master123",  "dragon123",  "monkey123",  "shadow123",
        "admin123",   "admin1234", "administrator", "changeme",   "changeme1",  "default1",   "secret123",
        "testtest",   "test1234",  "test12345",     "11111111",   "111111111",  "00000000",   "000000000",
        "22222222",   "33333333",  "55555555",      "66666666",   "77777777",   "88888888",   "99999999",
        "87654321",   "987654321", "9876543210",    "0987654321", "12341234",   "11223344",   "12121212",
        "13131313",   "31415926",  "01234567",      "0123456789", "123123123",  "123321123",  "147258369",
        "159753456",  "123454321", "1234qwer",      "qwer1234",   "12345qwert", "1234567a",   "123456789a",
        "q1w2e3r4t5", "1a2b3c4d",  "aaaaaaaa",      "abcdefgh",   "abcdefghi",  "abcdabcd",   "asdf1234",
        "asdfasdf",   "internet",  "samsung1",      "google123",  "facebook",   "facebook1",  "minecraft",
        "pokemon1",   "bismillah", "indonesia",     "jakarta123", "sayang123",  "rahasia123", "corvette",
        "mercedes",   "nicholas",  "elizabeth",     "alexander",  "victoria",   "danielle",   "jonathan",
        "chocolate",  "butterfly", "blink182",      "metallica",  "slipknot",   "november",   "december",
    };

    for (size_t i = 0; i < TW_LEN(common); i++) {
        if (strlen(common[i]) == password.len && strncasecmp(common[i], password.ptr, password.len) == 0)
            return true;
    }
    return false;
}
