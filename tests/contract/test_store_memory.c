/* The in-memory twin under the contract suite, with the states of all three domains. */
#include "memory_store.h"
#include "sample_states.h"
#include "store_contract.h"

struct memory {
    struct tw_store         keeper; /* holds the database while tests open and close handles */
    struct tw_memory_db    *db;
    struct tw_memory_image *image;
};

static void memory_connect(void *self, const char *uri)
{
    (void)self;
    (void)uri;
}

static void memory_open(void *self, struct tw_store *ret_store)
{
    tw_memory_store_join(((struct memory *)self)->db, ret_store);
}

static void memory_close(void *self, struct tw_store *store)
{
    (void)self;
    tw_memory_store_close(store);
}

static void memory_wipe(void *self)
{
    tw_memory_wipe(((struct memory *)self)->db);
}

static void memory_take(void *self)
{
    struct memory *memory = self;

    tw_memory_image_free(memory->image);
    memory->image = tw_memory_take(memory->db);
}

static void memory_put_back(void *self)
{
    struct memory *memory = self;

    tw_memory_put_back(memory->db, memory->image);
}

static void memory_lose_answer(void *self)
{
    tw_memory_lose_answer(((struct memory *)self)->db);
}

static void memory_lose_request(void *self)
{
    tw_memory_lose_request(((struct memory *)self)->db);
}

static bool memory_end_fault(void *self)
{
    return tw_memory_end_faults(((struct memory *)self)->db);
}

static int run(int argc, char **argv, const char *name, const struct tw_sample_states *states)
{
    struct memory           memory = {0};
    struct tw_store_fixture fixture = {
        .name = name,
        .states = states,
        .connect = memory_connect,
        .open = memory_open,
        .close = memory_close,
        .wipe = memory_wipe,
        .take = memory_take,
        .put_back = memory_put_back,
        .lose_request = memory_lose_request,
        .lose_commit = memory_lose_request,
        .lose_answer = memory_lose_answer,
        .end_fault = memory_end_fault,
        .self = &memory,
    };
    int failed;

    tw_memory_store_open(states->domain, &memory.keeper);
    memory.db = tw_memory_store_db(&memory.keeper);
    failed = tw_store_contract_main(argc, argv, &fixture);
    tw_memory_image_free(memory.image);
    tw_memory_store_close(&memory.keeper);
    return failed;
}

int main(int argc, char **argv)
{
    return run(argc, argv, "store_memory_members", &tw_sample_members) +
           run(argc, argv, "store_memory_products", &tw_sample_products) +
           run(argc, argv, "store_memory_carts", &tw_sample_carts);
}
