/* Changes of msgpack values: the bytes become a list of nodes, and are written anew with one of them treated apart. */
#include <string.h>

#include "fuzz.h"

enum { NODES_MAX = 1024, DEPTH_MAX = 32, LONG_TEXT = 9000 };

struct node {
    size_t   at, head, end; /* bytes: of its head, behind it, behind all of it */
    uint32_t kids;          /* values in it: of a map twice its pairs */
    uint32_t next;          /* number of the node behind all of it */
    uint32_t parent;
    bool     is_map, is_array, is_text;
};

enum deed { REPLACE, DROP, DOUBLE };

struct mutation {
    const uint8_t *bytes;
    size_t         len;
    struct node    nodes[NODES_MAX];
    uint32_t       count;
    uint32_t       target;
    enum deed      deed;
    struct tw_buf *out;
    struct tw_buf  with; /* REPLACE: the new value */
};

/* --- reading ------------------------------------------------------------------------------------------------------ */

static size_t number_at(const struct mutation *m, size_t at, size_t width)
{
    size_t value = 0;

    for (size_t i = 0; i < width && at + i < m->len; i++)
        value = value << 8 | m->bytes[at + i];
    return value;
}

/* The bytes that follow the head of a value that has no others in it; what a head says of kids is in `node`. */
static size_t read_head(const struct mutation *m, uint8_t head, struct node *node)
{
    static const uint8_t fixed[0x20] = {
        [0x0a] = 4, [0x0b] = 8, [0x0c] = 1, [0x0d] = 2, [0x0e] = 4, [0x0f] = 8, [0x10] = 1, [0x11] = 2,
        [0x12] = 4, [0x13] = 8, [0x14] = 2, [0x15] = 3, [0x16] = 5, [0x17] = 9, [0x18] = 17};
    size_t width = 0;

    if (head >= 0xa0 && head < 0xc0) {
        node->is_text = true;
        return head & 0x1f;
    }
    if (head >= 0x80 && head < 0xa0) {
        node->is_map = head < 0x90;
        node->is_array = !node->is_map;
        node->kids = (head & 0x0f) * (node->is_map ? 2U : 1U);
        return 0;
    }
    if (head < 0x80 || head >= 0xe0)
        return 0;
    if (head >= 0xdc) {
        width = head & 1 ? 4 : 2;
        node->is_map = head >= 0xde;
        node->is_array = !node->is_map;
        node->kids = (uint32_t)number_at(m, node->head, width) * (node->is_map ? 2U : 1U);
        node->head += width;
        return 0;
    }
    if (head < 0xc4 || (head > 0xc9 && head < 0xd9))
        return fixed[head & 0x1f];
    node->is_text = head >= 0xd9;
    width = (size_t)1 << (node->is_text ? head - 0xd9 : (head - 0xc4) % 3);
    node->head += width;
    return number_at(m, node->head - width, width) + (head >= 0xc7 && head <= 0xc9);
}

static bool read_node(struct mutation *m, size_t *at, uint32_t parent, int depth)
{
    uint32_t     number = m->count;
    struct node *node = &m->nodes[number];
    size_t       more;

    if (number == NODES_MAX || depth > DEPTH_MAX || *at >= m->len)
        return false;
    m->count++;
    *node = (struct node){.at = *at, .head = *at + 1, .parent = parent};
    more = read_head(m, m->bytes[*at], node);
    if (node->head > m->len || more > m->len - node->head || node->kids > m->len)
        return false;
    *at = node->head + more;
    for (uint32_t i = 0; i < node->kids; i++)
        if (!read_node(m, at, number, depth + 1))
            return false;
    node->end = *at;
    node->next = m->count;
    return true;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static void put_head(struct tw_buf *out, uint8_t wide, size_t value, size_t width)
{
    uint8_t head[5] = {wide};

    for (size_t i = 0; i < width; i++)
        head[1 + i] = (uint8_t)(value >> (8 * (width - 1 - i)));
    tw_buf_add(out, head, 1 + width);
}

static void put_text(struct tw_buf *out, struct tw_str text)
{
    if (text.len < 32)
        put_head(out, (uint8_t)(0xa0 | text.len), 0, 0);
    else if (text.len < 256)
        put_head(out, 0xd9, text.len, 1);
    else
        put_head(out, 0xda, text.len, 2);
    tw_buf_add_str(out, text);
}

static void put_count(struct tw_buf *out, bool is_map, uint32_t count)
{
    if (count < 16)
        put_head(out, (uint8_t)((is_map ? 0x80 : 0x90) | count), 0, 0);
    else
        put_head(out, is_map ? 0xde : 0xdc, count, 2);
}

static void put_node(struct mutation *m, uint32_t number);

/* An element, or a pair of a map: where the target is in it, the deed is done to all of it. */
static void put_unit(struct mutation *m, uint32_t first, uint32_t step)
{
    bool is_hit = m->deed != REPLACE && (m->target == first || (step == 2 && m->target == m->nodes[first].next));

    for (int times = is_hit ? (m->deed == DROP ? 0 : 2) : 1; times > 0; times--) {
        put_node(m, first);
        if (step == 2)
            put_node(m, m->nodes[first].next);
    }
}

static void put_node(struct mutation *m, uint32_t number)
{
    const struct node *node = &m->nodes[number];
    uint32_t           step = node->is_map ? 2 : 1;
    uint32_t           count = node->kids / step;
    uint32_t           child = number + 1;

    if (m->deed == REPLACE && number == m->target) {
        tw_buf_add_str(m->out, tw_buf_str(&m->with));
        return;
    }
    if (!node->is_map && !node->is_array) {
        tw_buf_add(m->out, m->bytes + node->at, node->end - node->at);
        return;
    }
    if (m->deed != REPLACE && m->nodes[m->target].parent == number && m->target != 0)
        count = m->deed == DROP ? count - 1 : count + 1;
    put_count(m->out, node->is_map, count);
    for (uint32_t i = 0; i < node->kids; i += step) {
        uint32_t last = step == 2 ? m->nodes[child].next : child;

        put_unit(m, child, step);
        child = m->nodes[last].next;
    }
}

/* --- new values --------------------------------------------------------------------------------------------------- */

static void add_number(struct tw_buf *out, uint64_t *random)
{
    static const int64_t told[] = {
        0,   1,   -1,   2,     5,          6,          20,        21,        99,        100,
        101, 999, 1000, 99999, 0x7fffffff, 0x80000000, INT64_MAX, INT64_MIN, 1LL << 53, 253402300800000};

    uint64_t value = (uint64_t)told[tw_fuzz_dice(random, TW_LEN(told))];

    put_head(out, tw_fuzz_dice(random, 2) ? 0xd3 : 0xcf, 0, 0);
    for (int i = 7; i >= 0; i--)
        put_head(out, (uint8_t)(value >> (8 * i)), 0, 0);
}

static void add_long_text(struct tw_buf *out, uint64_t *random)
{
    static const uint16_t lengths[] = {0,   1,   16,  36,  50,  51,   64,   65,       100,
                                       101, 200, 201, 255, 256, 2048, 2049, LONG_TEXT};
    static char           letters[LONG_TEXT];

    memset(letters, 'a', sizeof(letters));
    put_text(out, (struct tw_str){letters, lengths[tw_fuzz_dice(random, TW_LEN(lengths))]});
}

static void add_nest(struct tw_buf *out, uint64_t *random)
{
    for (size_t depth = tw_fuzz_dice(random, 24); depth > 0; depth--)
        put_head(out, 0x91, 0, 0);
    put_head(out, 0xc0, 0, 0);
}

static void add_plain(struct tw_buf *out, uint64_t *random)
{
    static const char *const plain[] = {"\xc0",
                                        "\xc2",
                                        "\xc3",
                                        "\x80",
                                        "\x90",
                                        "\xa0",
                                        "\xcb\x7f\xf8\1\1\1\1\1\1",
                                        "\xc4\2ab",
                                        "\xa4"
                                        "9.99",
                                        "\xa4"
                                        "0.00",
                                        "\xa5"
                                        "-1.00",
                                        "\xa4"
                                        "1e10"};

    tw_buf_add_str(out, tw_str_of(plain[tw_fuzz_dice(random, TW_LEN(plain))]));
}

static void add_other(struct mutation *m, uint64_t *random)
{
    const struct node *other = &m->nodes[tw_fuzz_dice(random, m->count)];

    tw_buf_add(&m->with, m->bytes + other->at, other->end - other->at);
}

/* The new value, often like the one there was. */
static void make_value(struct mutation *m, uint64_t *random)
{
    const struct node *node = &m->nodes[m->target];
    struct tw_buf      text = {0};

    if (node->is_text && tw_fuzz_dice(random, 2)) {
        tw_fuzz_add_mutated(&text, (struct tw_str){(const char *)m->bytes + node->head, node->end - node->head}, 8);
        put_text(&m->with, tw_buf_str(&text));
        tw_buf_done(&text);
        return;
    }
    switch (tw_fuzz_dice(random, 5)) {
    case 0:
        add_number(&m->with, random);
        break;
    case 1:
        add_long_text(&m->with, random);
        break;
    case 2:
        add_nest(&m->with, random);
        break;
    case 3:
        add_plain(&m->with, random);
        break;
    default:
        add_other(m, random);
        break;
    }
}

bool tw_fuzz_mutate_msgpack(struct tw_str packed, uint64_t *random, struct tw_buf *out)
{
    static struct mutation m;
    size_t                 at = 0;

    m = (struct mutation){.bytes = (const uint8_t *)packed.ptr, .len = packed.len, .out = out};
    if (packed.len == 0 || !read_node(&m, &at, 0, 0) || at != packed.len)
        return false;
    m.target = (uint32_t)tw_fuzz_dice(random, m.count);
    m.deed = m.target == 0 ? REPLACE : (enum deed)tw_fuzz_dice(random, DOUBLE + 1);
    if (m.deed == REPLACE)
        make_value(&m, random);
    put_node(&m, 0);
    tw_buf_done(&m.with);
    return true;
}
