#include "member_domain.h"
#include "member_policy.h"
#include "member_store.h"
#include "worker.h"

int main(int argc, char **argv)
{
    static const struct tw_worker_spec spec = {
        .program = "tillwire-member",
        .about = "Folds member.commands into PostgreSQL and publishes member.events.",
        .domain = &tw_member_domain,
        .store_uri = "postgres_uri",
        .store_help = "PostgreSQL, postgresql://user:password@host:port/database.",
        .batch_records = "2000",
        .batch_kbytes = "1024",
        .open_store = tw_member_store_open,
        .close_store = tw_member_store_close,
        .pin_id_key = tw_member_store_pin,
        .policy = &tw_member_email_policy,
    };

    return tw_worker_main(&spec, argc, argv);
}
