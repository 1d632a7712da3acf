/* Digests of states (workers/replay/digest.c). */
#include "digest.h"

#include "member_domain.h"
#include "sample_states.h"
#include "tillwire/gen/member_messages.h"
#include "unit.h"

enum { STATES = 20 };

static struct tw_arena arena;
static struct tw_buf   scratch;

static int forget(void **state)
{
    (void)state;
    tw_arena_done(&arena);
    tw_buf_done(&scratch);
    return 0;
}

/* Sample i at a generation, a claim or a member. */
static const struct tw_type *type_of(uint32_t i)
{
    return tw_sample_members.domain->states[tw_sample_members.key(i).kind];
}

static void add(struct tw_digest *digest, uint32_t i, int64_t generation)
{
    struct tw_key key = tw_sample_members.key(i);

    tw_digest_add(digest, type_of(i), &key, tw_sample_members.make(i, generation, &arena), &scratch);
}

static void subtract(struct tw_digest *digest, uint32_t i, int64_t generation)
{
    struct tw_key key = tw_sample_members.key(i);

    tw_digest_subtract(digest, type_of(i), &key, tw_sample_members.make(i, generation, &arena), &scratch);
}

static void a_digest__does_not_depend_on_the_order(void **state)
{
    struct tw_digest up = {0}, down = {0}, nothing = {0};

    (void)state;
    for (uint32_t i = 0; i < STATES; i++) {
        add(&up, i, 1);
        add(&down, STATES - 1 - i, 1);
    }
    assert_true(tw_digest_eq(&up, &down));
    assert_false(tw_digest_eq(&up, &nothing));
}

static void a_state_that_changes__leaves_no_trace_of_what_it_was(void **state)
{
    struct tw_digest changed = {0}, made_so = {0}, nothing = {0};

    (void)state;
    for (uint32_t i = 0; i < STATES; i++) {
        add(&changed, i, 1);
        subtract(&changed, i, 1);
        add(&changed, i, 2);
        add(&made_so, i, 2);
    }
    assert_true(tw_digest_eq(&changed, &made_so));
    for (uint32_t i = 0; i < STATES; i++)
        subtract(&changed, i, 2);
    assert_true(tw_digest_eq(&changed, &nothing));
}

static void assert_another(const struct tw_key *key, const struct tw_member_claim *claim, const struct tw_digest *than)
{
    struct tw_digest digest = {0};

    tw_digest_add(&digest, &tw_member_claim_type, key, claim, &scratch);
    assert_false(tw_digest_eq(&digest, than));
}

static void kind_id_sub_and_state__all_make_the_digest(void **state)
{
    struct tw_key          key = {.kind = TW_MEMBER_CLAIM_ENTITY, .id = {{1}}, .sub = {{2}}}, other = key;
    struct tw_member_claim claim = {.claim_id = {{1}}};
    struct tw_digest       digest = {0};

    (void)state;
    tw_digest_add(&digest, &tw_member_claim_type, &key, &claim, &scratch);
    other.kind++;
    assert_another(&other, &claim, &digest);
    other = key;
    other.id.bytes[15] = 1;
    assert_another(&other, &claim, &digest);
    other = key;
    other.sub.bytes[15] = 1;
    assert_another(&other, &claim, &digest);
    claim.created_at_ms = 1;
    assert_another(&key, &claim, &digest);
}

static void digests_of_two_partitions__join_to_that_of_both(void **state)
{
    struct tw_digest both = {0}, one = {0}, other = {0};

    (void)state;
    for (uint32_t i = 0; i < STATES; i++) {
        add(&both, i, 1);
        add(i % 3 ? &one : &other, i, 1);
    }
    tw_digest_join(&one, &other);
    assert_true(tw_digest_eq(&one, &both));
}

static void a_written_digest__is_read_again_and_other_bytes_are_none(void **state)
{
    struct tw_digest digest = {0}, found = {0}, nothing = {0};
    char             bytes[TW_DIGEST_BYTES + 1] = {0};

    (void)state;
    add(&digest, 0, 1);
    tw_digest_write(&digest, bytes);
    assert_true(tw_digest_read((struct tw_str){bytes, TW_DIGEST_BYTES}, &found));
    assert_true(tw_digest_eq(&digest, &found));
    assert_true(tw_digest_read((struct tw_str){NULL, 0}, &found));
    assert_true(tw_digest_eq(&found, &nothing));
    assert_false(tw_digest_read((struct tw_str){bytes, TW_DIGEST_BYTES - 1}, &found));
    assert_false(tw_digest_read((struct tw_str){bytes, TW_DIGEST_BYTES + 1}, &found));
}

#define TEST(name) cmocka_unit_test_teardown(name, forget)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_digest__does_not_depend_on_the_order),
        TEST(a_state_that_changes__leaves_no_trace_of_what_it_was),
        TEST(kind_id_sub_and_state__all_make_the_digest),
        TEST(digests_of_two_partitions__join_to_that_of_both),
        TEST(a_written_digest__is_read_again_and_other_bytes_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
