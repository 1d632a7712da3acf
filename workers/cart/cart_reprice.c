/*
 * Two lists: products whose change is being spread, and lines to look up. Both keep the event they are from, by which
 * the runtime knows how far it is.
 *
 * Lines are looked up in rounds. They gather for a while, so that a product is asked for once a round and not once a
 * batch of events: it is the asking that costs, and an answer that comes later is as good (docs/decisions/reprice.md).
 */
#include "cart_reprice.h"

#include <stdlib.h>
#include <string.h>

#include "tillwire/gen/cart_messages.h"
#include "tillwire/gen/product_messages.h"

enum {
    PAGE_MAX = 100, /* commands of one product before the next one has its turn */
    PAGES_MAX = 20, /* of one step: most sets are empty, and neither events nor a stop shall wait for many of them */
    QUESTION_MAX = 200, /* products of one question: some servers compare each with each */
    BURST = 1000,       /* lines of one question; and commands of one step that look-ups send, about */
};

/* A product whose change is spread. Sets are read one after the other, round and round; `sets_left` says how many are
 * still to be read to their end, the one at hand included. */
struct spreading {
    struct tw_catalogue_product product;
    struct tw_policy_cause      cause;
    char                       *texts;     /* what the views of the two above point to */
    int32_t                     partition; /* of the event */
    int64_t                     offset;
    int32_t                     set; /* partition of the set at hand */
    uint64_t                    cursor;
    int32_t                     sets_left;
    bool                        failed;    /* the set at hand could not be read in this step */
    bool                        suspended; /* until its event comes again */
};

/* A line that came into a cart, or changed there. */
struct line {
    struct tw_policy_cause cause;
    struct tw_uuid         member_id;
    struct tw_uuid         product_id;
    int64_t                version;
    int32_t                partition; /* of the event */
    int64_t                offset;
};

struct lines {
    struct tw_arena arena; /* of all of them: they are forgotten together */
    struct line    *items;
    uint32_t        count, cap;
};

struct reprice {
    struct tw_holders   holders;
    struct tw_catalogue catalogue;
    struct spreading   *spreadings;
    uint32_t            spreading_count, spreading_cap;
    uint32_t            suspended_count;
    uint32_t            turn;       /* whose it is */
    bool               *away;       /* by server: it did not answer in this step */
    struct lines        gathered;   /* for the next round */
    int64_t             since_us;   /* they gather; 0: nothing has */
    struct lines        round;      /* being looked up, sorted by product and member */
    uint32_t            round_done; /* of its lines, from the first on */
    bool                products_full, lines_full;
};

/* --- life --------------------------------------------------------------------------------------------------------- */

void *tw_reprice_new(const struct tw_holders *holders, const struct tw_catalogue *catalogue)
{
    struct reprice *reprice = tw_alloc_zeroed(1, sizeof(*reprice));

    reprice->holders = *holders;
    reprice->catalogue = *catalogue;
    reprice->away = tw_alloc_zeroed((size_t)holders->server_count, sizeof(*reprice->away));
    return reprice;
}

void tw_reprice_free(void *self)
{
    struct reprice *reprice = self;

    if (!reprice)
        return;
    for (uint32_t i = 0; i < reprice->spreading_count; i++)
        free(reprice->spreadings[i].texts);
    free(reprice->spreadings);
    free(reprice->away);
    tw_arena_done(&reprice->gathered.arena);
    tw_arena_done(&reprice->round.arena);
    reprice->holders.close(reprice->holders.self);
    reprice->catalogue.close(reprice->catalogue.self);
    free(reprice);
}

/* --- commands ----------------------------------------------------------------------------------------------------- */

static void send_reprice(struct tw_policy_out *out, const struct tw_policy_cause *cause, struct tw_uuid member_id,
                         const struct tw_catalogue_product *product)
{
    tw_policy_send(out, &(struct tw_policy_command){
                            .cause = cause,
                            .type = &tw_cart_reprice_type,
                            .domain = TW_DOMAIN_CART,
                            .aggregate = member_id,
                            .caller = member_id,
                            .body =
                                &(struct tw_cart_reprice){
                                    .member_id = member_id,
                                    .product_id = product->product_id,
                                    .product_name = product->name,
                                    .price_minor = product->price_minor,
                                    .product_version = product->version,
                                    .available = product->available,
                                },
                        });
}

/* --- a product changed -------------------------------------------------------------------------------------------- */

static struct spreading *find_spreading(struct reprice *reprice, struct tw_uuid product_id)
{
    for (uint32_t i = 0; i < reprice->spreading_count; i++)
        if (tw_uuid_eq(reprice->spreadings[i].product.product_id, product_id))
            return &reprice->spreadings[i];
    return NULL;
}

static struct spreading *add_spreading(struct reprice *reprice)
{
    if (reprice->spreading_count == reprice->spreading_cap) {
        reprice->spreading_cap = reprice->spreading_cap ? 2 * reprice->spreading_cap : 16;
        reprice->spreadings = tw_realloc(reprice->spreadings, reprice->spreading_cap * sizeof(*reprice->spreadings));
    }
    reprice->spreadings[reprice->spreading_count] = (struct spreading){0};
    return &reprice->spreadings[reprice->spreading_count++];
}

/* Copies @p text to *at and moves that on. */
static struct tw_str keep_text(char **at, struct tw_str text)
{
    struct tw_str kept = {*at, text.len};

    if (text.len)
        memcpy(*at, text.ptr, text.len);
    *at += text.len;
    return kept;
}

static void keep_texts(struct spreading *spreading, struct tw_str name, const struct tw_policy_cause *cause)
{
    char *at = tw_alloc_zeroed(1, name.len + cause->id.len + cause->traceparent.len + 1);

    free(spreading->texts);
    spreading->texts = at;
    spreading->product.name = keep_text(&at, name);
    spreading->cause.id = keep_text(&at, cause->id);
    spreading->cause.traceparent = keep_text(&at, cause->traceparent);
    spreading->cause.time_ms = cause->time_ms;
}

/* True: it was suspended. */
static bool resume(struct reprice *reprice, struct spreading *spreading)
{
    bool suspended = spreading->suspended;

    reprice->suspended_count -= suspended;
    spreading->suspended = false;
    return suspended;
}

/* The order of turns stays: the others move up. */
static void remove_spreading(struct reprice *reprice, uint32_t i)
{
    resume(reprice, &reprice->spreadings[i]);
    free(reprice->spreadings[i].texts);
    reprice->spreading_count--;
    memmove(&reprice->spreadings[i], &reprice->spreadings[i + 1],
            (reprice->spreading_count - i) * sizeof(*reprice->spreadings));
    if (reprice->turn > i)
        reprice->turn--;
}

/* What stayed suspended although the partition is read beyond it: somebody else did it meanwhile. */
static void drop_passed(struct reprice *reprice, int32_t partition, int64_t offset)
{
    for (uint32_t i = reprice->spreading_count; i-- > 0;) {
        const struct spreading *spreading = &reprice->spreadings[i];

        if (spreading->suspended && spreading->partition == partition && spreading->offset < offset)
            remove_spreading(reprice, i);
    }
}

/*
 * A newer change takes the place of the older one of the same product, and goes on where that was: what is left of the
 * set at hand, then all sets once. Beginning again with the first one, a product that changes all the time would never
 * reach the last one. The same change once more (a store was refilled) takes its own place: what was read of the sets
 * may have been read of a store that had lost its tail. Only the same record of the same change, read again because
 * the partition was away for a moment, goes on as if it had not been.
 */
static void spread_change(struct reprice *reprice, const struct tw_policy_event *event,
                          const struct tw_product_changed *changed)
{
    struct spreading *spreading = find_spreading(reprice, changed->product_id);

    if (spreading && changed->version < spreading->product.version)
        return;
    if (spreading && resume(reprice, spreading) && event->offset == spreading->offset)
        return;
    if (!spreading)
        spreading = add_spreading(reprice);
    spreading->product = (struct tw_catalogue_product){
        .product_id = changed->product_id,
        .price_minor = changed->effective_price_minor,
        .version = changed->version,
        .available = changed->is_active,
    };
    keep_texts(spreading, changed->name, &event->cause);
    spreading->partition = event->partition;
    spreading->offset = event->offset > spreading->offset ? event->offset : spreading->offset;
    spreading->sets_left = reprice->holders.partition_count + (spreading->cursor != 0);
}

/* What a line shows of its product. */
static bool shows_in_carts(const struct tw_product_changed *changed)
{
    static const char *const shown[] = {"name", "effective_price", "is_active"};

    for (uint32_t i = 0; i < changed->changed_len; i++)
        for (size_t k = 0; k < TW_LEN(shown); k++)
            if (tw_str_is(changed->changed[i], shown[k]))
                return true;
    return false;
}

static enum tw_rc react_to_change(struct reprice *reprice, const struct tw_policy_event *event, struct tw_arena *arena,
                                  struct tw_err *reterr)
{
    struct tw_product_changed changed;

    TW_TRY(tw_product_changed_type.unpack(event->payload, arena, &changed, reterr));
    if (reprice->suspended_count)
        drop_passed(reprice, event->partition, event->offset);
    if (shows_in_carts(&changed))
        spread_change(reprice, event, &changed);
    return TW_OK;
}

/* The set was read to its end, the next one's turn has come. */
static void next_set(const struct reprice *reprice, struct spreading *spreading)
{
    spreading->set = (spreading->set + 1) % reprice->holders.partition_count;
    spreading->sets_left--;
}

static enum tw_rc send_page(struct reprice *reprice, struct spreading *spreading, size_t max, struct tw_arena *arena,
                            struct tw_policy_out *out, size_t *ret_sent, struct tw_err *reterr)
{
    struct tw_uuid *members;

    TW_TRY(reprice->holders.page(reprice->holders.self, spreading->set, spreading->product.product_id,
                                 spreading->cursor, max, arena, &members, ret_sent, &spreading->cursor, reterr));
    for (size_t i = 0; i < *ret_sent; i++)
        send_reprice(out, &spreading->cause, members[i], &spreading->product);
    if (!spreading->cursor)
        next_set(reprice, spreading);
    return TW_OK;
}

static int32_t server_of(const struct reprice *reprice, const struct spreading *spreading)
{
    return spreading->set % reprice->holders.server_count;
}

/* Cursors are good as long as the server lives, which is not known of one that is away. */
static void begin_sets_again(struct reprice *reprice, int32_t server)
{
    for (uint32_t i = 0; i < reprice->spreading_count; i++)
        if (server_of(reprice, &reprice->spreadings[i]) == server)
            reprice->spreadings[i].cursor = 0;
}

/* A server that is away is not asked again in this step; a set that cannot be read is a matter of its product alone. */
static void put_off(struct reprice *reprice, struct spreading *spreading, enum tw_rc rc)
{
    spreading->failed = true;
    spreading->cursor = 0;
    if (tw_rc_action(rc) != TW_RETRY)
        return;
    reprice->away[server_of(reprice, spreading)] = true;
    begin_sets_again(reprice, server_of(reprice, spreading));
}

static bool waits(const struct reprice *reprice, const struct spreading *spreading)
{
    return spreading->suspended || spreading->failed || reprice->away[server_of(reprice, spreading)];
}

/* Whose turn it is: those that wait for something are passed over. False: all do. */
static bool find_turn(const struct reprice *reprice, uint32_t *ret_turn)
{
    for (uint32_t n = 0; n < reprice->spreading_count; n++) {
        uint32_t i = (reprice->turn + n) % reprice->spreading_count;

        if (!waits(reprice, &reprice->spreadings[i])) {
            *ret_turn = i;
            return true;
        }
    }
    return false;
}

static enum tw_rc take_page(struct reprice *reprice, uint32_t i, size_t max, struct tw_arena *arena,
                            struct tw_policy_out *out, size_t *ret_sent, struct tw_err *reterr)
{
    enum tw_rc rc = send_page(reprice, &reprice->spreadings[i], max, arena, out, ret_sent, reterr);

    if (rc != TW_OK)
        put_off(reprice, &reprice->spreadings[i], rc);
    else if (!reprice->spreadings[i].sets_left)
        remove_spreading(reprice, i);
    return rc;
}

/* Nothing waits for what went wrong before. Beyond the turns, the first one that did is the first to try: so what goes
 * on to be wrong is told by every step. */
static bool begin_step(struct reprice *reprice, uint32_t *ret_first)
{
    bool waited = false;

    for (uint32_t i = reprice->spreading_count; i-- > 0;) {
        if (!reprice->spreadings[i].suspended && waits(reprice, &reprice->spreadings[i])) {
            waited = true;
            *ret_first = i;
        }
        reprice->spreadings[i].failed = false;
    }
    memset(reprice->away, 0, (size_t)reprice->holders.server_count * sizeof(*reprice->away));
    return waited;
}

/* Whatever comes of it, the next product has its turn then. */
static bool next_turn(struct reprice *reprice, uint32_t *ret_turn)
{
    if (!find_turn(reprice, ret_turn))
        return false;
    reprice->turn = *ret_turn + 1;
    return true;
}

/* The first thing that went wrong is told, after all was done that could be. */
enum tw_rc tw_reprice_spread(void *self, size_t max, struct tw_arena *arena, struct tw_policy_out *out,
                             struct tw_err *reterr)
{
    struct reprice *reprice = self;
    enum tw_rc      first = TW_OK;
    size_t          sent = 0;
    uint32_t        turn;
    bool            again = begin_step(reprice, &turn);

    for (int pages = 0; sent < max && pages < PAGES_MAX && (again || next_turn(reprice, &turn)); pages++) {
        size_t     of_page = 0;
        enum tw_rc rc = take_page(reprice, turn, max - sent < PAGE_MAX ? max - sent : PAGE_MAX, arena, out, &of_page,
                                  first == TW_OK ? reterr : NULL);

        sent += of_page;
        first = first == TW_OK ? rc : first;
        again = false;
    }
    return first;
}

/* --- a line came into a cart -------------------------------------------------------------------------------------- */

static void keep_line(struct lines *lines, const struct tw_policy_event *event, struct tw_uuid member_id,
                      struct tw_uuid product_id, int64_t version)
{
    lines->items = tw_arena_grow(&lines->arena, lines->items, lines->count, &lines->cap, sizeof(*lines->items));
    lines->items[lines->count++] = (struct line){
        .cause = {tw_arena_copy(&lines->arena, event->cause.id), event->cause.time_ms,
                  tw_arena_copy(&lines->arena, event->cause.traceparent)},
        .member_id = member_id,
        .product_id = product_id,
        .version = version,
        .partition = event->partition,
        .offset = event->offset,
    };
}

static enum tw_rc react_to_added(struct reprice *reprice, const struct tw_policy_event *event, struct tw_arena *arena,
                                 struct tw_err *reterr)
{
    struct tw_cart_item_added added;

    TW_TRY(tw_cart_item_added_type.unpack(event->payload, arena, &added, reterr));
    keep_line(&reprice->gathered, event, added.member_id, added.product_id, added.product_version);
    return TW_OK;
}

static enum tw_rc react_to_set(struct reprice *reprice, const struct tw_policy_event *event, struct tw_arena *arena,
                               struct tw_err *reterr)
{
    struct tw_cart_item_set set;

    TW_TRY(tw_cart_item_set_type.unpack(event->payload, arena, &set, reterr));
    keep_line(&reprice->gathered, event, set.member_id, set.product_id, set.product_version);
    return TW_OK;
}

static void forget_lines(struct lines *lines)
{
    tw_arena_reset(&lines->arena);
    lines->items = NULL;
    lines->count = lines->cap = 0;
}

static int compare_products(const void *a, const void *b)
{
    return tw_uuid_cmp(((const struct tw_catalogue_product *)a)->product_id,
                       ((const struct tw_catalogue_product *)b)->product_id);
}

/* A line's events are those of one cart, so of one partition. */
static int compare_lines(const void *a, const void *b)
{
    const struct line *one = a, *other = b;
    int                products = tw_uuid_cmp(one->product_id, other->product_id);
    int                members = products ? products : tw_uuid_cmp(one->member_id, other->member_id);

    return members ? members : (one->offset > other->offset) - (one->offset < other->offset);
}

static bool is_same_line(const struct line *a, const struct line *b)
{
    return tw_uuid_eq(a->product_id, b->product_id) && tw_uuid_eq(a->member_id, b->member_id);
}

/* Of the events of one line the newest says what is there now; the others are dropped. */
static void keep_newest_lines(struct lines *lines)
{
    struct line *items = lines->items;
    uint32_t     kept = 0;

    for (uint32_t i = 0; i < lines->count; i++)
        if (i + 1 == lines->count || !is_same_line(&items[i], &items[i + 1]))
            items[kept++] = items[i];
    lines->count = kept;
}

/* Few lines are looked up at once, nearly. Of many, a busy shop's or a backlog's, ever more are of the same products. */
static int64_t gathering_us(uint32_t count)
{
    if (count >= TW_REPRICE_LINES_MAX / 2)
        return 0;
    return count < TW_REPRICE_FEW_LINES ? TW_REPRICE_FEW_US : TW_REPRICE_MANY_US;
}

static bool is_round_due(struct reprice *reprice, int64_t now_us)
{
    if (!reprice->gathered.count)
        return false;
    if (!reprice->since_us)
        reprice->since_us = now_us;
    return now_us - reprice->since_us >= gathering_us(reprice->gathered.count);
}

static void begin_round(struct reprice *reprice)
{
    struct lines gathered = reprice->gathered;

    reprice->gathered = reprice->round;
    reprice->round = gathered;
    reprice->since_us = 0;
    qsort(gathered.items, gathered.count, sizeof(*gathered.items), compare_lines);
    keep_newest_lines(&reprice->round);
}

/* The lines of the round's next products: how many, and these products, each once. */
static uint32_t next_question(const struct reprice *reprice, struct tw_uuid ret_ids[QUESTION_MAX], size_t *ret_id_count)
{
    const struct lines *round = &reprice->round;
    size_t              count = 0;
    uint32_t            i = reprice->round_done;

    for (; i < round->count && i - reprice->round_done < BURST; i++) {
        bool is_known = count && tw_uuid_eq(ret_ids[count - 1], round->items[i].product_id);

        if (!is_known && count == QUESTION_MAX)
            break;
        if (!is_known)
            ret_ids[count++] = round->items[i].product_id;
    }
    *ret_id_count = count;
    return i - reprice->round_done;
}

static bool send_if_older(const struct line *line, const struct tw_catalogue_product *products, size_t count,
                          struct tw_policy_out *out)
{
    const struct tw_catalogue_product  key = {.product_id = line->product_id};
    const struct tw_catalogue_product *product =
        count ? bsearch(&key, products, count, sizeof(key), compare_products) : NULL;

    if (!product || product->version <= line->version)
        return false;
    send_reprice(out, &line->cause, line->member_id, product);
    return true;
}

static enum tw_rc ask(struct reprice *reprice, struct tw_arena *arena, struct tw_policy_out *out, size_t *sent,
                      struct tw_err *reterr)
{
    const struct line           *lines = reprice->round.items + reprice->round_done;
    struct tw_uuid               ids[QUESTION_MAX];
    size_t                       id_count, count;
    uint32_t                     line_count = next_question(reprice, ids, &id_count);
    struct tw_catalogue_product *products;

    TW_TRY(reprice->catalogue.look_up(reprice->catalogue.self, ids, id_count, arena, &products, &count, reterr));
    if (count)
        qsort(products, count, sizeof(*products), compare_products);
    for (uint32_t i = 0; i < line_count; i++)
        *sent += send_if_older(&lines[i], products, count, out);
    reprice->round_done += line_count;
    return TW_OK;
}

static void end_round(struct reprice *reprice)
{
    forget_lines(&reprice->round);
    reprice->round_done = 0;
}

enum tw_rc tw_reprice_settle(void *self, int64_t now_us, struct tw_arena *arena, struct tw_policy_out *out,
                             struct tw_err *reterr)
{
    struct reprice *reprice = self;
    bool            due = is_round_due(reprice, now_us);
    size_t          sent = 0;

    if (due && !reprice->round.count)
        begin_round(reprice);
    while (reprice->round_done < reprice->round.count && sent < BURST)
        TW_TRY(ask(reprice, arena, out, &sent, reterr));
    if (reprice->round_done == reprice->round.count)
        end_round(reprice);
    return TW_OK;
}

/* --- the port ----------------------------------------------------------------------------------------------------- */

enum tw_rc tw_reprice_react(void *self, const struct tw_policy_event *event, struct tw_arena *arena,
                            struct tw_policy_out *out, struct tw_err *reterr)
{
    (void)out; /* nothing goes at once */
    if (tw_str_is(event->type, tw_product_changed_type.ce_type))
        return react_to_change(self, event, arena, reterr);
    if (tw_str_is(event->type, tw_cart_item_added_type.ce_type))
        return react_to_added(self, event, arena, reterr);
    if (tw_str_is(event->type, tw_cart_item_set_type.ce_type))
        return react_to_set(self, event, arena, reterr);
    return TW_OK;
}

static uint32_t count_active(const struct reprice *reprice)
{
    return reprice->spreading_count - reprice->suspended_count;
}

static uint32_t count_lines(const struct reprice *reprice)
{
    return reprice->gathered.count + reprice->round.count - reprice->round_done;
}

bool tw_reprice_is_spreading(const void *self)
{
    return count_active(self) > 0;
}

/* Beginning to read again is not free: what was fetched is fetched once more. So not for one that was done. */
static bool is_full(bool *full, uint32_t count, uint32_t max)
{
    *full = count >= (*full ? max / 4 * 3 : max);
    return *full;
}

bool tw_reprice_is_full(void *self, enum tw_domain_number domain)
{
    struct reprice *reprice = self;

    return domain == TW_DOMAIN_PRODUCT
               ? is_full(&reprice->products_full, count_active(reprice), TW_REPRICE_PRODUCTS_MAX)
               : is_full(&reprice->lines_full, count_lines(reprice), TW_REPRICE_LINES_MAX);
}

static int64_t oldest_product(const struct reprice *reprice, int32_t partition)
{
    int64_t oldest = INT64_MAX;

    for (uint32_t i = 0; i < reprice->spreading_count; i++) {
        const struct spreading *spreading = &reprice->spreadings[i];

        if (spreading->partition == partition && !spreading->suspended && spreading->offset < oldest)
            oldest = spreading->offset;
    }
    return oldest;
}

static int64_t oldest_line(const struct lines *lines, uint32_t first, int32_t partition, int64_t oldest)
{
    for (uint32_t i = first; i < lines->count; i++)
        if (lines->items[i].partition == partition && lines->items[i].offset < oldest)
            oldest = lines->items[i].offset;
    return oldest;
}

int64_t tw_reprice_oldest(const void *self, enum tw_domain_number domain, int32_t partition)
{
    const struct reprice *reprice = self;

    if (domain == TW_DOMAIN_PRODUCT)
        return oldest_product(reprice, partition);
    return oldest_line(&reprice->gathered, 0, partition,
                       oldest_line(&reprice->round, reprice->round_done, partition, INT64_MAX));
}

static void suspend_products_of(struct reprice *reprice, int32_t partition)
{
    for (uint32_t i = 0; i < reprice->spreading_count; i++) {
        struct spreading *spreading = &reprice->spreadings[i];

        if (spreading->partition != partition || spreading->suspended)
            continue;
        spreading->suspended = true;
        reprice->suspended_count++;
    }
}

static void forget_products_of(struct reprice *reprice, int32_t partition)
{
    for (uint32_t i = reprice->spreading_count; i-- > 0;)
        if (reprice->spreadings[i].partition == partition)
            remove_spreading(reprice, i);
}

static void drop_lines_of(struct lines *lines, uint32_t first, int32_t partition)
{
    uint32_t kept = first;

    for (uint32_t i = first; i < lines->count; i++)
        if (lines->items[i].partition != partition)
            lines->items[kept++] = lines->items[i];
    lines->count = kept;
}

static void forget_lines_of(struct reprice *reprice, int32_t partition)
{
    drop_lines_of(&reprice->gathered, 0, partition);
    drop_lines_of(&reprice->round, reprice->round_done, partition);
    if (!reprice->gathered.count) {
        forget_lines(&reprice->gathered);
        reprice->since_us = 0;
    }
    if (reprice->round_done == reprice->round.count)
        end_round(reprice);
}

/* Lines are looked up soon when their events come again; it is the long scans that would never end otherwise. */
void tw_reprice_suspend(void *self, enum tw_domain_number domain, int32_t partition)
{
    if (domain == TW_DOMAIN_PRODUCT)
        suspend_products_of(self, partition);
    else
        forget_lines_of(self, partition);
}

void tw_reprice_forget(void *self, enum tw_domain_number domain, int32_t partition)
{
    if (domain == TW_DOMAIN_PRODUCT)
        forget_products_of(self, partition);
    else
        forget_lines_of(self, partition);
}
