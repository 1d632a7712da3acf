#include "product_domain.h"
#include "product_store.h"
#include "worker.h"

int main(int argc, char **argv)
{
    static const struct tw_worker_spec spec = {
        .program = "tillwire-product",
        .about = "Folds product.commands into MongoDB and publishes product.events.",
        .domain = &tw_product_domain,
        .store_uri = "mongo_uri",
        .store_help = "MongoDB, mongodb://host:port/database.",
        .batch_records = "5000",
        .batch_kbytes = "1024",
        .open_store = tw_product_store_open,
        .close_store = tw_product_store_close,
    };

    return tw_worker_main(&spec, argc, argv);
}
