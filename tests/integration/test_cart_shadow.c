/* Links: tw_carts_on_redis */
/*
 * The shadow of the carts' store: what a swap exchanges, what it refuses, and what a crash leaves. Several servers are
 * several databases of one here: to the shadow each address is a server.
 */
#include "workers/cart/cart_shadow.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "carts_on_redis.h"

enum { PARTITIONS = 6, MARK = 77, EXIT_AT_FAILPOINT = 86 };

/* The live store at `live`, its shadow at `shadow`; a list of `servers` addresses, two databases each. */
struct scene {
    int              servers;
    struct worker    live, other; /* the latter works on the shadow, or on the old store */
    struct tw_shadow shadow;
    struct tw_frozen frozen[PARTITIONS];
    struct tw_err    err;
};

/* Databases 0, 2, … are live, those behind them are their shadows. */
static const char *live_uris(int servers)
{
    static char text[2000];
    size_t      len = 0;

    for (int i = 0; i < servers; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s", i ? "," : "", database(2 * i));
    return text;
}

static void open_shadow(struct scene *scene, const char *uris, const char *name)
{
    assert_rc(tw_cart_shadow_open(uris, name, TIMEOUT_MS, &scene->shadow, &scene->err), TW_OK, scene->err);
}

static struct scene *scene_of(int servers)
{
    struct scene *scene = tw_alloc_zeroed(1, sizeof(*scene));

    scene->servers = servers;
    for (int db = DATABASES; db-- > 0;) {
        use(db);
        say("FLUSHDB");
    }
    open_on(&scene->live, live_uris(servers));
    open_shadow(scene, live_uris(servers), "");
    open_on(&scene->other, scene->shadow.uri);
    return scene;
}

static int one_server(void **state)
{
    *state = scene_of(1);
    return 0;
}

static int two_servers(void **state)
{
    *state = scene_of(2);
    return 0;
}

static int end_scene(void **state)
{
    struct scene *scene = *state;

    scene->shadow.close(scene->shadow.self);
    close_worker(&scene->live);
    close_worker(&scene->other);
    free(scene);
    return 0;
}

static enum tw_shadow_content look_at(struct scene *scene, char note[TW_SHADOW_NOTE + 1])
{
    enum tw_shadow_content content = TW_SHADOW_NONE;

    assert_rc(scene->shadow.look(scene->shadow.self, &content, note, &scene->err), TW_OK, scene->err);
    return content;
}

static void assert_content(struct scene *scene, enum tw_shadow_content expected, const char *expected_note)
{
    char note[TW_SHADOW_NOTE + 1] = "left alone";

    assert_int_equal(look_at(scene, note), expected);
    assert_string_equal(note, expected_note);
}

static void make(struct scene *scene, const char *note)
{
    assert_rc(scene->shadow.make(scene->shadow.self, note, &scene->err), TW_OK, scene->err);
}

static void set_mark(struct worker *worker, int32_t partition, int64_t from, int64_t to)
{
    assert_rc(look_in(worker, partition), TW_OK, worker->err);
    assert_rc(worker->store.set_mark(worker->store.self, partition, worker->next_offset, from, to, &worker->err), TW_OK,
              worker->err);
}

static struct tw_progress progress_of(struct worker *worker, int32_t partition)
{
    struct tw_progress progress = {0};
    enum tw_rc         rc;

    for (int tries = 0; tries < 2; tries++) { /* a swap shows once */
        rc = worker->store.watermark(worker->store.self, partition, &worker->arena, &progress, &worker->err);
        if (rc == TW_OK)
            break;
    }
    assert_rc(rc, TW_OK, worker->err);
    return progress;
}

/* As who swaps does: all partitions, after what they had to publish was. */
static void freeze(struct scene *scene)
{
    for (int32_t p = 0; p < PARTITIONS; p++) {
        struct tw_progress progress = progress_of(&scene->live, p);

        if (progress.outbox.len > 0)
            assert_rc(scene->live.store.forget_outbox(scene->live.store.self, p, progress.next_offset, &scene->err),
                      TW_OK, scene->err);
        if (!progress.mark)
            set_mark(&scene->live, p, 0, MARK + p);
        scene->frozen[p] = (struct tw_frozen){progress.next_offset, progress.mark ? progress.mark : MARK + p};
    }
}

/* The marks as they are, after a crash. */
static void read_marks(struct scene *scene)
{
    for (int32_t p = 0; p < PARTITIONS; p++) {
        struct tw_progress progress = progress_of(&scene->live, p);

        scene->frozen[p] = (struct tw_frozen){progress.next_offset, progress.mark};
    }
}

static void count_steps(void *self, int64_t done, int64_t all)
{
    int *steps = self;

    ++*steps;
    assert_int_equal(done, *steps);
    assert_true(done <= all);
}

static enum tw_rc swap(struct scene *scene)
{
    int        steps = 0;
    enum tw_rc rc = scene->shadow.swap(scene->shadow.self, scene->frozen, PARTITIONS, count_steps, &steps, &scene->err);

    if (rc == TW_OK)
        assert_int_equal(steps, scene->servers);
    return rc;
}

static enum tw_rc swap_back(struct scene *scene)
{
    return scene->shadow.swap_back(scene->shadow.self, scene->frozen, PARTITIONS, NULL, NULL, &scene->err);
}

static void fold_silently(struct worker *worker, int32_t partition, const char *member, uint32_t lines)
{
    fold_in(worker, partition, member, cart_of(worker, member, lines, AT_MS), AT_MS);
    assert_rc(worker->store.forget_outbox(worker->store.self, partition, worker->next_offset, &worker->err), TW_OK,
              worker->err);
}

/* Alice has two lines in the live store and one in the shadow, which is ready to be swapped; Bob, in the next partition
 * and so on the other server, likewise. */
static void given_shadow(struct scene *scene)
{
    make(scene, "of a test");
    fold_silently(&scene->live, 4, ALICE, 2);
    fold_silently(&scene->live, 3, BOB, 2);
    fold_silently(&scene->other, 4, ALICE, 1);
    fold_silently(&scene->other, 3, BOB, 1);
    freeze(scene);
}

static void assert_no_mark(struct worker *worker)
{
    for (int32_t p = 0; p < PARTITIONS; p++)
        assert_int_equal(progress_of(worker, p).mark, 0);
}

/* How many lines readers find in database `db`; 0: there is no such cart. */
static long long lines_in(int db, const char *member)
{
    long long lines;

    use(db);
    lines = ask_number("EXISTS cart:%s:" SHIRT " cart:%s:" SOCKS, member, member);
    use(0);
    return lines;
}

static void assert_lines(int db, const char *member, long long expected)
{
    if (lines_in(db, member) != expected)
        fail_msg("database %d has %lld lines of %s, not %lld", db, lines_in(db, member), member, expected);
}

/* Nothing of a swap has happened: neither to the data nor to the marks. */
static void assert_not_swapped(struct scene *scene)
{
    assert_content(scene, TW_SHADOW_MADE, "of a test");
    assert_lines(0, ALICE, 2);
    assert_lines(1, ALICE, 1);
    for (int32_t p = 0; p < PARTITIONS; p++)
        assert_true(progress_of(&scene->live, p).mark >= 0);
}

/* --- a place ------------------------------------------------------------------------------------------------------ */

static void a_shadow__is_made_in_the_database_behind_the_live_one(void **state)
{
    struct scene *scene = *state;
    char          place[60];

    assert_content(scene, TW_SHADOW_NONE, "");
    make(scene, "rebuild of monday");
    assert_content(scene, TW_SHADOW_MADE, "rebuild of monday");
    assert_keys("");
    use(1);
    assert_keys("tw:shadow ");
    use(0);
    snprintf(place, sizeof(place), "database %d of Redis", server.db + 1);
    assert_string_equal(scene->shadow.place, place);
}

static void a_shadow__of_another_name_is_made_in_that_database(void **state)
{
    struct scene *scene = *state;
    char          name[16];

    scene->shadow.close(scene->shadow.self);
    snprintf(name, sizeof(name), "%d", server.db + 3);
    open_shadow(scene, live_uris(1), name);
    make(scene, "");
    use(3);
    assert_keys("tw:shadow ");
    use(0);
}

static void a_shadow__keeps_the_longest_note(void **state)
{
    struct scene *scene = *state;
    char          note[TW_SHADOW_NOTE + 1];

    memset(note, 'n', TW_SHADOW_NOTE);
    note[TW_SHADOW_NOTE] = '\0';
    make(scene, note);
    assert_content(scene, TW_SHADOW_MADE, note);
}

static void a_name__that_is_no_database_of_its_own_is_invalid(void **state)
{
    static const struct {
        const char *uris, *name, *sentence;
    } wrong[] = {
        {"redis://h/2", "2", "database 2 of Redis address 1 is live"},
        {"redis://h/2", "shadow", "a database number, not 'shadow'"},
        {"redis://h/2", "-1", "a database number, not '-1'"},
        {"redis://h/2", "2147483648", "a database number"},
        {"redis://h/2147483647", "", "no database number behind"},
        {"redis://h/0,redis://h/1", "", "database 1 of Redis address 2 is live"},
        {"redis://h/0,redis://h/5", "7", "addresses 1 and 2 would share database 7"},
        {"http://h", "", "redis://"},
    };
    struct scene *scene = *state;

    for (size_t i = 0; i < TW_LEN(wrong); i++) {
        struct tw_shadow shadow = {0};

        assert_rc(tw_cart_shadow_open(wrong[i].uris, wrong[i].name, TIMEOUT_MS, &shadow, &scene->err), TW_INVALID,
                  scene->err);
        if (!strstr(scene->err.msg, wrong[i].sentence))
            fail_msg("'%s' does not say %s", scene->err.msg, wrong[i].sentence);
    }
}

static void a_place__tells_of_different_databases(void **state)
{
    struct tw_shadow shadow = {0};
    struct tw_err    err = {0};

    (void)state;
    assert_rc(tw_cart_shadow_open("redis://a/0,redis://:hush@b/7", "", TIMEOUT_MS, &shadow, &err), TW_OK, err);
    assert_string_equal(shadow.place, "databases 1, 8 of Redis");
    assert_string_equal(shadow.uri, "redis://a/1,redis://:hush@b/8");
    shadow.close(shadow.self);
    shadow.close(NULL);
}

static void what_is_foreign__is_never_touched(void **state)
{
    struct scene *scene = *state;

    for (int i = 0; i < 2; i++) {
        fold_silently(&scene->live, 4, ALICE, 2);
        freeze(scene);
        use(1);
        say(i ? "SET tw:shadow mine" : "SET precious x");
        use(0);
        assert_content(scene, TW_SHADOW_FOREIGN, "");
        assert_rc(scene->shadow.make(scene->shadow.self, "", &scene->err), TW_BROKEN, scene->err);
        assert_rc(scene->shadow.drop(scene->shadow.self, &scene->err), TW_BROKEN, scene->err);
        assert_rc(swap(scene), TW_BROKEN, scene->err);
        assert_non_null(strstr(scene->err.msg, "holds no shadow"));
        assert_rc(swap_back(scene), TW_BROKEN, scene->err);
        use(1);
        assert_keys(i ? "tw:shadow " : "precious ");
        say("FLUSHDB");
        use(0);
        assert_lines(0, ALICE, 2);
        say("FLUSHDB");
    }
}

static void drop__forgets_the_shadow_and_nothing_else(void **state)
{
    struct scene *scene = *state;

    given_shadow(scene);
    assert_rc(scene->shadow.drop(scene->shadow.self, &scene->err), TW_OK, scene->err);
    assert_content(scene, TW_SHADOW_NONE, "");
    assert_rc(scene->shadow.drop(scene->shadow.self, &scene->err), TW_OK, scene->err); /* again */
    assert_lines(0, ALICE, 2);
    use(1);
    assert_keys("");
    use(0);
    make(scene, "the next");
}

static void a_server_that_is_away__is_unreached(void **state)
{
    struct scene          *scene = *state;
    struct tw_shadow       shadow = {0};
    enum tw_shadow_content content;
    char                   note[TW_SHADOW_NOTE + 1];

    assert_rc(tw_cart_shadow_open("redis://127.0.0.1:1", "", TIMEOUT_MS, &shadow, &scene->err), TW_OK, scene->err);
    assert_rc(shadow.look(shadow.self, &content, note, &scene->err), TW_UNREACHED, scene->err);
    assert_rc(shadow.make(shadow.self, "", &scene->err), TW_UNREACHED, scene->err);
    assert_rc(shadow.drop(shadow.self, &scene->err), TW_UNREACHED, scene->err);
    shadow.close(shadow.self);
}

/* --- swap --------------------------------------------------------------------------------------------------------- */

static void swap__exchanges_both_stores_for_every_connection_at_once(void **state)
{
    struct scene *scene = *state;

    given_shadow(scene);
    assert_answer("{\"total_items\":5,\"total_price\":312.85,\"updated_at\":\"2049-12-12T12:00:00.000Z\"}",
                  "GET cart:" ALICE ":summary"); /* by the connection of a reader, which is not told */
    assert_rc(swap(scene), TW_OK, scene->err);
    assert_answer("{\"total_items\":2,\"total_price\":298.00,\"updated_at\":\"2049-12-12T12:00:00.000Z\"}",
                  "GET cart:" ALICE ":summary");
    assert_int_equal(ask_number("EXISTS tw:shadow tw:old"), 0);
    assert_lines(1, ALICE, 2);
    assert_no_mark(&scene->live);
    assert_no_mark(&scene->other);
    assert_content(scene, TW_SHADOW_OLD, "");
    fold_silently(&scene->live, 4, ALICE, 2); /* the worker goes on */
    assert_lines(0, ALICE, 2);
}

static void swap__leaves_behind_what_stands_in_the_shadows_outboxes(void **state)
{
    struct scene *scene = *state;

    given_shadow(scene);
    use(1);
    say("APPEND tw:progress:4 note");
    use(0);
    assert_rc(swap(scene), TW_OK, scene->err);
    assert_int_equal(progress_of(&scene->live, 4).outbox.len, 0);
    assert_int_equal(progress_of(&scene->live, 4).next_offset, 1);
    assert_lines(0, ALICE, 1);
}

static void swap__of_what_is_not_as_the_caller_says_is_fenced_and_changes_nothing(void **state)
{
    struct scene *scene = *state;

    given_shadow(scene);
    scene->frozen[5].mark++;
    assert_rc(swap(scene), TW_FENCED, scene->err);
    assert_non_null(strstr(scene->err.msg, "partition 5 is not frozen"));
    scene->frozen[5].mark--;
    scene->frozen[4].next_offset++;
    assert_rc(swap(scene), TW_FENCED, scene->err);
    assert_non_null(strstr(scene->err.msg, "partition 4 is not frozen at 2"));
    scene->frozen[4].next_offset--;
    set_mark(&scene->live, 2, MARK + 2, 0);
    scene->frozen[2].mark = 0;
    assert_rc(swap(scene), TW_FENCED, scene->err);
    assert_non_null(strstr(scene->err.msg, "partition 2 is not frozen"));
    assert_not_swapped(scene);
}

static void swap__with_events_to_publish_is_fenced(void **state)
{
    struct scene *scene = *state;

    given_shadow(scene);
    say("APPEND tw:progress:4 events");
    assert_rc(swap(scene), TW_FENCED, scene->err);
    assert_non_null(strstr(scene->err.msg, "partition 4 still has events to publish"));
    assert_not_swapped(scene);
}

static void swap__with_a_shadow_that_is_not_ready_is_fenced(void **state)
{
    struct scene *scene = *state;

    given_shadow(scene);
    set_mark(&scene->other, 4, 0, MARK);
    assert_rc(swap(scene), TW_FENCED, scene->err);
    assert_non_null(strstr(scene->err.msg, "partition 4 of the shadow is frozen"));
    set_mark(&scene->other, 4, MARK, 0);
    fold_silently(&scene->other, 4, ALICE, 1);
    assert_rc(swap(scene), TW_FENCED, scene->err);
    assert_non_null(strstr(scene->err.msg, "partition 4 of the shadow is at 2, the live one at 1"));
    assert_not_swapped(scene);
}

static void swap__with_a_shadow_that_lacks_what_readers_see_is_fenced(void **state)
{
    struct scene *scene = *state;

    given_shadow(scene);
    use(1);
    say("SET tw:unprojected:4 1");
    use(0);
    assert_rc(swap(scene), TW_FENCED, scene->err);
    assert_non_null(strstr(scene->err.msg, "partition 4 of the shadow lacks what readers see"));
    assert_not_swapped(scene);
}

/* --- workers that were not told ----------------------------------------------------------------------------------- */

static void swap__fences_the_commit_of_a_worker_that_has_loaded(void **state)
{
    struct scene *scene = *state;
    struct batch *batch;

    given_shadow(scene);
    assert_rc(look_in(&scene->live, 4), TW_OK, scene->live.err);
    batch = batch_of(&scene->live, ALICE);
    assert_rc(load(&scene->live, batch), TW_OK, scene->live.err);
    assert_rc(swap(scene), TW_OK, scene->err);
    assert_rc(commit(&scene->live, batch, cart_of(&scene->live, ALICE, 2, AT_MS)), TW_FENCED, scene->live.err);
    assert_lines(0, ALICE, 1);
}

/* The watermark is the same in both stores: only the epoch tells a worker that what it remembers may be wrong. */
static void swap__is_noticed_by_a_worker_that_slept_all_the_time(void **state)
{
    struct scene *scene = *state;
    struct worker sleeper = {0};
    struct batch *batch;

    given_shadow(scene);
    open_on(&sleeper, live_uris(1));
    assert_rc(look_in(&sleeper, 4), TW_OK, sleeper.err);
    assert_rc(look_in(&sleeper, 3), TW_OK, sleeper.err);
    assert_rc(swap(scene), TW_OK, scene->err);
    assert_rc(look_in(&sleeper, 3), TW_UNREACHED, sleeper.err); /* when it looks; and then it has the place of now */
    assert_non_null(strstr(sleeper.err.msg, "took the place"));
    assert_rc(look_in(&sleeper, 3), TW_OK, sleeper.err);
    batch = batch_of(&sleeper, ALICE);
    assert_rc(load(&sleeper, batch), TW_FENCED, sleeper.err); /* when it goes on */
    assert_rc(look_in(&sleeper, 4), TW_OK, sleeper.err);
    assert_rc(load(&sleeper, batch), TW_OK, sleeper.err);
    assert_int_equal(((const struct tw_cart *)batch->entity.before)->lines_len, 1);
    close_worker(&sleeper);
}

/* --- and back ----------------------------------------------------------------------------------------------------- */

static void swap_back__brings_the_old_store_and_keeps_the_new_one(void **state)
{
    struct scene *scene = *state;

    given_shadow(scene);
    assert_rc(swap(scene), TW_OK, scene->err);
    assert_no_mark(&scene->live);
    fold_silently(&scene->live, 4, ALICE, 0);
    freeze(scene);
    assert_rc(swap_back(scene), TW_OK, scene->err);
    assert_lines(0, ALICE, 2);
    assert_lines(1, ALICE, 0);
    assert_no_mark(&scene->live);
    assert_no_mark(&scene->other);
    assert_int_equal(progress_of(&scene->live, 4).next_offset, 1); /* from where it folds on */
    assert_int_equal(progress_of(&scene->other, 4).next_offset, 2);
    assert_content(scene, TW_SHADOW_OLD, "");
    fold_silently(&scene->live, 4, ALICE, 0);
    freeze(scene);
    assert_rc(swap_back(scene), TW_OK, scene->err); /* and forth */
    assert_lines(1, BOB, 2);
    assert_int_equal(ask_number("EXISTS tw:old"), 0);
    assert_answer("3", "GET tw:epoch");
}

static void swap_back__of_partitions_that_are_not_frozen_is_fenced(void **state)
{
    struct scene *scene = *state;

    given_shadow(scene);
    assert_rc(swap(scene), TW_OK, scene->err);
    assert_rc(swap_back(scene), TW_FENCED, scene->err);
    assert_content(scene, TW_SHADOW_OLD, "");
    assert_lines(0, ALICE, 1);
    assert_rc(swap(scene), TW_BROKEN, scene->err); /* nor is there a shadow */
}

static void drop__forgets_the_old_store(void **state)
{
    struct scene *scene = *state;

    given_shadow(scene);
    assert_rc(swap(scene), TW_OK, scene->err);
    assert_rc(scene->shadow.drop(scene->shadow.self, &scene->err), TW_OK, scene->err);
    assert_content(scene, TW_SHADOW_NONE, "");
    assert_lines(0, ALICE, 1);
    freeze(scene);
    assert_rc(swap_back(scene), TW_BROKEN, scene->err);
    assert_non_null(strstr(scene->err.msg, "holds no store of before a swap"));
}

/* --- several servers ---------------------------------------------------------------------------------------------- */

static void swap__exchanges_the_stores_of_all_servers(void **state)
{
    struct scene *scene = *state;

    given_shadow(scene);
    assert_lines(0, ALICE, 2);
    assert_lines(2, BOB, 2);
    assert_rc(swap(scene), TW_OK, scene->err);
    assert_lines(0, ALICE, 1);
    assert_lines(1, ALICE, 2);
    assert_lines(2, BOB, 1);
    assert_lines(3, BOB, 2);
    assert_no_mark(&scene->live);
    assert_content(scene, TW_SHADOW_OLD, "");
    freeze(scene);
    assert_rc(swap_back(scene), TW_OK, scene->err);
    assert_lines(0, ALICE, 2);
    assert_lines(2, BOB, 2);
    assert_no_mark(&scene->live);
    assert_rc(scene->shadow.drop(scene->shadow.self, &scene->err), TW_OK, scene->err);
    assert_content(scene, TW_SHADOW_NONE, "");
}

static void swap__that_one_server_refuses_changes_nothing_on_the_others(void **state)
{
    struct scene *scene = *state;

    given_shadow(scene);
    scene->frozen[5].mark++;
    assert_rc(swap(scene), TW_FENCED, scene->err);
    assert_not_swapped(scene);
    assert_lines(2, BOB, 2);
    assert_lines(3, BOB, 1);
}

/* This program again, which swaps (or swaps back) and dies on the way. */
static void crash(const char *direction, const char *failpoint)
{
    static struct tw_child child;
    char                   setting[64];

#ifndef TW_FAILPOINTS
    print_message("             not built with TW_FAILPOINTS\n");
    skip();
#endif
    snprintf(setting, sizeof(setting), "TW_FAIL=%s", failpoint);
    tw_child_exec((const char *const[]){"/proc/self/exe", direction, NULL}, (const char *const[]){setting, NULL},
                  &child);
    assert_int_equal(child.exit_code, EXIT_AT_FAILPOINT);
}

static int swap_in_child(const char *direction)
{
    struct scene scene = {.servers = 2};
    enum tw_rc   rc;

    open_on(&scene.live, live_uris(2));
    open_shadow(&scene, live_uris(2), "");
    read_marks(&scene);
    rc = strcmp(direction, "swap") == 0 ? swap(&scene) : swap_back(&scene);
    scene.shadow.close(scene.shadow.self);
    close_worker(&scene.live);
    return (int)rc;
}

/* This program again, which swaps and stops before it makes the marks of the second server lasting. */
static pid_t stop_before_second_server(void)
{
    pid_t pid = fork();
    int   status;

    assert_true(pid >= 0);
    if (pid == 0) {
        setenv("TW_FAIL", "swap_marks=stop@2", 1);
        execl("/proc/self/exe", "test_cart_shadow", "swap", (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    return pid;
}

static void a_server_that_refuses_late__changes_nothing_on_the_others(void **state)
{
    struct scene *scene = *state;
    int           status = 0;
    pid_t         pid;

#ifndef TW_FAILPOINTS
    print_message("             not built with TW_FAILPOINTS\n");
    skip();
#endif
    given_shadow(scene);
    pid = stop_before_second_server();
    assert_int_equal(progress_of(&scene->live, 4).mark, -(MARK + 4));
    set_mark(&scene->live, 3, MARK + 3, 0);
    kill(pid, SIGCONT);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), TW_FENCED);
    assert_int_equal(progress_of(&scene->live, 4).mark, MARK + 4);
    assert_not_swapped(scene);
    use(1);
    assert_int_equal(ask_number("HEXISTS tw:shadow going"), 0);
    use(0);
}

static void a_swap_that_died_while_it_made_marks_lasting__begins_anew(void **state)
{
    struct scene *scene = *state;

    given_shadow(scene);
    crash("swap", "swap_marks=exit@2");
    assert_content(scene, TW_SHADOW_MADE, "of a test");
    assert_lines(0, ALICE, 2);
    assert_int_equal(progress_of(&scene->live, 4).mark, -(MARK + 4)); /* of the first server */
    assert_int_equal(progress_of(&scene->live, 3).mark, MARK + 3);
    read_marks(scene);
    assert_rc(swap(scene), TW_OK, scene->err);
    assert_lines(0, ALICE, 1);
    assert_lines(2, BOB, 1);
    assert_no_mark(&scene->live);
}

static void a_swap_that_died_between_two_servers__is_finished_by_the_next_call(void **state)
{
    struct scene *scene = *state;

    given_shadow(scene);
    crash("swap", "swap_between=exit");
    assert_content(scene, TW_SHADOW_SWAPPING, "");
    assert_lines(0, ALICE, 1);
    assert_lines(2, BOB, 2);
    assert_int_equal(progress_of(&scene->live, 4).mark, 0);
    assert_int_equal(progress_of(&scene->live, 3).mark, -(MARK + 3));
    fold_silently(&scene->live, 4, ALICE, 0); /* the first server's worker is at work again */
    assert_rc(scene->shadow.drop(scene->shadow.self, &scene->err), TW_BROKEN, scene->err);
    assert_non_null(strstr(scene->err.msg, "between two Redis servers"));
    read_marks(scene);
    assert_rc(swap_back(scene), TW_BROKEN, scene->err);
    assert_rc(swap(scene), TW_OK, scene->err);
    assert_lines(0, ALICE, 0);
    assert_lines(2, BOB, 1);
    assert_no_mark(&scene->live);
    assert_content(scene, TW_SHADOW_OLD, "");
}

static void a_swap_back_that_died_between_two_servers__is_not_undone_on_the_first(void **state)
{
    struct scene *scene = *state;

    given_shadow(scene);
    assert_rc(swap(scene), TW_OK, scene->err);
    freeze(scene);
    crash("swap_back", "swap_between=exit");
    assert_content(scene, TW_SHADOW_SWAPPING_BACK, "");
    assert_lines(0, ALICE, 2);
    assert_lines(2, BOB, 1);
    freeze(scene); /* the first server's partitions once more: that must not matter */
    assert_rc(swap_back(scene), TW_OK, scene->err);
    assert_lines(0, ALICE, 2);
    assert_lines(2, BOB, 2);
}

static void a_server_that_cannot_follow__is_broken_because_something_has_happened(void **state)
{
    struct scene *scene = *state;

    given_shadow(scene);
    crash("swap", "swap_between=exit");
    set_mark(&scene->live, 3, -(MARK + 3), 0); /* by somebody who should not */
    read_marks(scene);
    assert_rc(swap(scene), TW_BROKEN, scene->err);
    assert_non_null(strstr(scene->err.msg, "Redis server 2 does not follow"));
    assert_lines(2, BOB, 2);
    set_mark(&scene->live, 3, 0, -1);
    read_marks(scene);
    assert_rc(swap(scene), TW_OK, scene->err);
    assert_lines(2, BOB, 1);
}

static void a_shadow_that_is_half_made__has_no_note_and_can_be_dropped(void **state)
{
    struct scene *scene = *state;

    make(scene, "of a test");
    use(3);
    say("FLUSHDB");
    use(0);
    assert_content(scene, TW_SHADOW_MADE, "");
    freeze(scene);
    assert_rc(swap(scene), TW_BROKEN, scene->err);
    assert_rc(scene->shadow.drop(scene->shadow.self, &scene->err), TW_OK, scene->err);
    assert_content(scene, TW_SHADOW_NONE, "");
}

static void a_shadow_of_another_list_of_servers__is_not_swapped(void **state)
{
    struct scene    *scene = *state;
    struct tw_shadow of_two = scene->shadow;

    given_shadow(scene);
    open_shadow(scene, live_uris(1), "");
    assert_content(scene, TW_SHADOW_MADE, "");
    assert_rc(swap(scene), TW_BROKEN, scene->err);
    assert_non_null(strstr(scene->err.msg, "another list of Redis servers"));
    scene->shadow.close(scene->shadow.self);
    scene->shadow = of_two;
    assert_not_swapped(scene);
}

/* --- accounts ----------------------------------------------------------------------------------------------------- */

/* As schemas/redis/README.md tells them. */
#define FOR_SHADOWS                                                                                             \
    "+select +info +config|get +multi +exec +watch +unwatch +dbsize +exists +get +set +del +hset +hdel +hmget " \
    "+swapdb "                                                                                                  \
    "+flushdb"

static void an_account_with_the_commands_of_the_documentation__can_swap(void **state)
{
    struct scene *scene = *state;

    given_shadow(scene);
    scene->shadow.close(scene->shadow.self);
    say("ACL SETUSER tw-test on >hush ~* " FOR_SHADOWS);
    open_shadow(scene, uri_of(0, "tw-test", "hush"), "");
    assert_rc(swap(scene), TW_OK, scene->err);
    freeze(scene);
    assert_rc(swap_back(scene), TW_OK, scene->err);
    assert_rc(scene->shadow.drop(scene->shadow.self, &scene->err), TW_OK, scene->err);
    make(scene, "");
    say("ACL DELUSER tw-test");
}

static int run_all(void)
{
#define ONE(name) cmocka_unit_test_setup_teardown(name, one_server, end_scene)
#define TWO(name) cmocka_unit_test_setup_teardown(name, two_servers, end_scene)
    static const struct CMUnitTest tests[] = {
        ONE(a_shadow__is_made_in_the_database_behind_the_live_one),
        ONE(a_shadow__of_another_name_is_made_in_that_database),
        ONE(a_shadow__keeps_the_longest_note),
        ONE(a_name__that_is_no_database_of_its_own_is_invalid),
        ONE(a_place__tells_of_different_databases),
        ONE(what_is_foreign__is_never_touched),
        ONE(drop__forgets_the_shadow_and_nothing_else),
        ONE(a_server_that_is_away__is_unreached),
        ONE(swap__exchanges_both_stores_for_every_connection_at_once),
        ONE(swap__of_what_is_not_as_the_caller_says_is_fenced_and_changes_nothing),
        ONE(swap__with_events_to_publish_is_fenced),
        ONE(swap__with_a_shadow_that_is_not_ready_is_fenced),
        ONE(swap__with_a_shadow_that_lacks_what_readers_see_is_fenced),
        ONE(swap__leaves_behind_what_stands_in_the_shadows_outboxes),
        ONE(swap__fences_the_commit_of_a_worker_that_has_loaded),
        ONE(swap__is_noticed_by_a_worker_that_slept_all_the_time),
        ONE(swap_back__brings_the_old_store_and_keeps_the_new_one),
        ONE(swap_back__of_partitions_that_are_not_frozen_is_fenced),
        ONE(drop__forgets_the_old_store),
        TWO(swap__exchanges_the_stores_of_all_servers),
        TWO(swap__that_one_server_refuses_changes_nothing_on_the_others),
        TWO(a_server_that_refuses_late__changes_nothing_on_the_others),
        TWO(a_swap_that_died_while_it_made_marks_lasting__begins_anew),
        TWO(a_swap_that_died_between_two_servers__is_finished_by_the_next_call),
        TWO(a_swap_back_that_died_between_two_servers__is_not_undone_on_the_first),
        TWO(a_server_that_cannot_follow__is_broken_because_something_has_happened),
        TWO(a_shadow_that_is_half_made__has_no_note_and_can_be_dropped),
        TWO(a_shadow_of_another_list_of_servers__is_not_swapped),
        ONE(an_account_with_the_commands_of_the_documentation__can_swap),
    };

    return cmocka_run_group_tests_name("cart_shadow", tests, NULL, NULL);
}

static const char *direction;

static int run_child(void)
{
    return swap_in_child(direction);
}

int main(int argc, char **argv)
{
    direction = argc == 2 ? argv[1] : NULL;
    return on_redis("cart_shadow", direction ? run_child : run_all);
}
