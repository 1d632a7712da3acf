#include "cart_domain.h"
#include "cart_policy.h"
#include "cart_store.h"
#include "worker.h"

int main(int argc, char **argv)
{
    static const struct tw_worker_spec spec = {
        .program = "tillwire-cart",
        .about = "Folds cart.commands into Redis and publishes cart.events.",
        .domain = &tw_cart_domain,
        .store_uri = "redis_uri",
        .store_help = "Redis servers, redis://:password@host:port/db with commas; partition p lives on server p mod n.",
        .batch_records = "500",
        .batch_kbytes = "256",
        .open_store = tw_cart_store_open,
        .close_store = tw_cart_store_close,
        .policy = &tw_cart_reprice_policy,
        .policy_uri = "mongo_uri",
        .policy_help = "MongoDB, mongodb://user:password@host:port/database: the catalogue, which reprices carts.",
    };

    return tw_worker_main(&spec, argc, argv);
}
