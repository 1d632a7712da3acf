#include "streams/history.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A thousand marks over all of the history: who comes back looks at a thousandth of it in vain, not at all of it. */
enum { FIRST_CAP = 256, MARKS = 1024, EVENT_BYTES = 256 /* of a small one, for the distance of marks */ };

/** A queue in a ring that grows; numbers ascend in it, but not without gaps: the other lane has the rest. */
struct lane {
    struct tw_news **items;
    size_t           cap; /* a power of two */
    size_t           head;
    size_t           count;
    size_t           bytes;
    int64_t          dropped; /* number of the last one that went; -1: none did */
    int64_t         *oldest;  /* for each place: all of this lane from this offset on is here */
};

/** Where reading was before the event of this number. */
struct mark {
    int64_t  number;
    int64_t *next; /* for each place */
};

enum { MEMBERS, NOBODYS, LANES };

struct tw_history {
    struct mark marks[MARKS]; /* a ring; numbers ascend */
    size_t      mark_head;
    size_t      mark_count;
    int64_t     mark_every;
    size_t      lane_bytes;
    size_t      places;
    int64_t     end;
    int64_t    *next;
    struct lane lanes[LANES];
};

struct tw_history *tw_history_new(size_t max_bytes, size_t places)
{
    struct tw_history *history = tw_alloc_zeroed(1, sizeof(*history));

    history->lane_bytes = max_bytes / LANES;
    history->places = places;
    history->next = tw_alloc_zeroed(places, sizeof(int64_t));
    history->mark_every = 1 + (int64_t)(max_bytes / EVENT_BYTES / MARKS);
    for (size_t i = 0; i < MARKS; i++)
        history->marks[i].next = tw_alloc_zeroed(places, sizeof(int64_t));
    for (size_t i = 0; i < LANES; i++) {
        struct lane *lane = &history->lanes[i];
        lane->cap = FIRST_CAP;
        lane->items = tw_alloc_zeroed(lane->cap, sizeof(struct tw_news *));
        lane->oldest = tw_alloc_zeroed(places, sizeof(int64_t));
        lane->dropped = -1;
    }
    return history;
}

static struct tw_news **item(const struct lane *lane, size_t i)
{
    return &lane->items[(lane->head + i) & (lane->cap - 1)];
}

static void drop_first(struct lane *lane)
{
    struct tw_news **first = item(lane, 0);
    struct tw_news  *news = *first;

    assert(news);
    *first = NULL;
    lane->dropped = news->number;
    lane->oldest[news->place] = news->offset + 1;
    lane->bytes -= news->size;
    lane->head = (lane->head + 1) & (lane->cap - 1);
    lane->count--;
    free(news);
}

void tw_history_free(struct tw_history *history)
{
    if (!history)
        return;
    for (size_t i = 0; i < LANES; i++) {
        while (history->lanes[i].count > 0)
            drop_first(&history->lanes[i]);
        free(history->lanes[i].items);
        free(history->lanes[i].oldest);
    }
    for (size_t i = 0; i < MARKS; i++)
        free(history->marks[i].next);
    free(history->next);
    free(history);
}

void tw_history_begin(struct tw_history *history, const int64_t *next)
{
    memcpy(history->next, next, history->places * sizeof(*next));
    history->mark_head = history->mark_count = 0;
    for (size_t i = 0; i < LANES; i++) {
        struct lane *lane = &history->lanes[i];
        while (lane->count > 0)
            drop_first(lane);
        memcpy(lane->oldest, next, history->places * sizeof(*next));
        lane->dropped = history->end - 1;
    }
}

void tw_history_pass(struct tw_history *history, size_t place, int64_t offset)
{
    history->next[place] = offset + 1;
}

static void grow(struct lane *lane)
{
    struct tw_news **items = tw_alloc_zeroed(2 * lane->cap, sizeof(struct tw_news *));

    for (size_t i = 0; i < lane->count; i++)
        items[i] = *item(lane, i);
    free(lane->items);
    lane->items = items;
    lane->cap *= 2;
    lane->head = 0;
}

static struct mark *mark_at(struct tw_history *history, size_t i)
{
    return &history->marks[(history->mark_head + i) % MARKS];
}

/** The oldest makes room. */
static void put_mark(struct tw_history *history)
{
    struct mark *mark = mark_at(history, history->mark_count);

    if (history->mark_count == MARKS)
        history->mark_head = (history->mark_head + 1) % MARKS;
    else
        history->mark_count++;
    mark->number = history->end;
    memcpy(mark->next, history->next, history->places * sizeof(*mark->next));
}

/* The newest stays, however large: whoever waits for it is told before the next one comes. */
void tw_history_add(struct tw_history *history, struct tw_news *news)
{
    struct lane *lane = &history->lanes[tw_uuid_is_nil(news->owner) ? NOBODYS : MEMBERS];

    if (history->end % history->mark_every == 0)
        put_mark(history);
    tw_history_pass(history, news->place, news->offset);
    news->number = history->end++;
    if (lane->count == lane->cap)
        grow(lane);
    *item(lane, lane->count++) = news;
    lane->bytes += news->size;
    while (lane->bytes > history->lane_bytes && lane->count > 1)
        drop_first(lane);
}

const int64_t *tw_history_next(const struct tw_history *history)
{
    return history->next;
}

int64_t tw_history_end(const struct tw_history *history)
{
    return history->end;
}

bool tw_history_reaches(const struct tw_history *history, const int64_t *from, bool all)
{
    for (size_t place = 0; place < history->places; place++) {
        if (from[place] < history->lanes[MEMBERS].oldest[place] ||
            (all && from[place] < history->lanes[NOBODYS].oldest[place]))
            return false;
    }
    return true;
}

static bool is_before(const struct tw_history *history, const struct mark *mark, const int64_t *from)
{
    for (size_t place = 0; place < history->places; place++) {
        if (mark->next[place] > from[place])
            return false;
    }
    return true;
}

/** Of the last mark before @p from; 0: there is none. */
static int64_t number_before(struct tw_history *history, const int64_t *from)
{
    size_t low = 0;
    size_t high = history->mark_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (is_before(history, mark_at(history, middle), from))
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? mark_at(history, low - 1)->number : 0;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* What a lane dropped lies before, too, but the other may have more and older ones. */
int64_t tw_history_start(struct tw_history *history, const int64_t *from, bool all)
{
    int64_t number = later(number_before(history, from), history->lanes[MEMBERS].dropped + 1);

    return all ? later(number, history->lanes[NOBODYS].dropped + 1) : number;
}

bool tw_history_has_from(const struct tw_history *history, int64_t number, bool all)
{
    return number > history->lanes[MEMBERS].dropped && (!all || number > history->lanes[NOBODYS].dropped);
}

static const struct tw_news *find_in(const struct lane *lane, int64_t number)
{
    size_t low = 0;
    size_t high = lane->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((*item(lane, middle))->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < lane->count ? *item(lane, low) : NULL;
}

const struct tw_news *tw_history_find(const struct tw_history *history, int64_t number, bool all)
{
    const struct tw_news *members = find_in(&history->lanes[MEMBERS], number);
    const struct tw_news *nobodys = all ? find_in(&history->lanes[NOBODYS], number) : NULL;

    if (members && nobodys)
        return members->number < nobodys->number ? members : nobodys;
    return members ? members : nobodys;
}
