/* See graph.h.
 *
 * Nodes and links have numbers, counted from 1; 0 is none. They lie in chunks that never move, so
 * that growing takes no longer than one chunk does. A node stays while something is known of its
 * entry: that it is there and has links or is owned, that it is linked to, watched, or doomed. */
#include "object/graph.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mutex.h"

enum {
    CHUNK = 1024,       /* items */
    BUCKETS_MIN = 1024, /* a power of two */

    /* Flags of a node; the first two are those of its image. */
    PRESENT = FIRN_GRAPH_IMAGE_PRESENT,
    OWNED = FIRN_GRAPH_IMAGE_OWNED,
    DOOMED = 4, /* for `why` */
    LISTED = 8, /* in the list of the doomed, though it may have been pardoned */
    GREY = 16,  /* in the list of those whose links are to be followed */
    PINNED = 32,
    CONDEMNED = 64, /* it was taken off that list to be deleted */
    LOOSE = 128,    /* its last link went while it was pinned */
};

typedef struct node {
    uint64_t hash;
    uint64_t version; /* of the entry; 0: not known */
    uint64_t changes; /* the graph's count when the value last changed */
    uint32_t next;    /* of the same bucket, or free */
    uint32_t out;     /* the first link of the entry's own */
    uint32_t in;      /* the first that points to it */
    uint32_t keepers; /* links that point to it and keep it */
    uint32_t watchers;
    uint32_t mark; /* the last round that came to it */
    uint32_t next_doomed;
    uint32_t next_grey;
    uint8_t flags;
    uint8_t why;
} node;

typedef struct edge {
    uint32_t from;
    uint32_t to;
    uint32_t next_out; /* or free */
    uint32_t next_in;
    uint32_t prev_in;
    uint32_t kind;
} edge;

typedef struct items {
    size_t item_size;
    void **chunks;
    size_t room;    /* for chunks */
    size_t have;    /* chunks */
    uint32_t fresh; /* items from here on were never used */
    uint32_t free;  /* the first that was, and is not now */
    uint32_t used;
} items;

enum phase { IDLE, ROOTS, SWEEP };

struct firn_graph {
    firn_heap *heap; /* lent; immutable */
    pthread_mutex_t lock;
    /* Written under the lock, read by anybody, relaxed: see firn_graph_in_use. */
    _Atomic uint32_t node_count;
    _Atomic uint32_t doomed_count; /* in the list */
    _Atomic uint32_t cuts;         /* since the round began: see firn_graph_collect_due */
    /* The lock guards the rest. */
    items nodes;
    items edges;
    uint32_t *buckets;
    size_t bucket_count;
    uint64_t changes;
    uint32_t first_doomed;
    uint32_t last_doomed;
    enum phase phase;
    uint32_t round;
    uint32_t cursor;   /* the last node that was looked at in this phase */
    uint32_t grey;     /* the first of the list */
    uint32_t followed; /* the next link to be followed, of the node taken off the list last */
    uint64_t rounds;
};

/* ---- memory ---- */

static void *item_at(const items *from, uint32_t number) {
    size_t at = number - 1;
    return (char *)from->chunks[at / CHUNK] + at % CHUNK * from->item_size;
}

static node *node_at(const firn_graph *graph, uint32_t number) {
    return item_at(&graph->nodes, number);
}

static edge *edge_at(const firn_graph *graph, uint32_t number) {
    return item_at(&graph->edges, number);
}

static int add_chunk(firn_graph *graph, items *to) {
    if (to->have == to->room) {
        size_t room = to->room * 2 + 16;
        void **grown = firn_heap_alloc(graph->heap, room * sizeof *grown);
        if (grown == NULL) {
            return FIRN_ENOMEM;
        }
        if (to->have > 0) {
            memcpy(grown, to->chunks, to->have * sizeof *grown);
        }
        firn_heap_free(graph->heap, to->chunks, to->room * sizeof *grown);
        to->chunks = grown;
        to->room = room;
    }
    to->chunks[to->have] = firn_heap_alloc(graph->heap, CHUNK * to->item_size);
    if (to->chunks[to->have] == NULL) {
        return FIRN_ENOMEM;
    }
    to->have++;
    return FIRN_OK;
}

/* Makes sure that so many more can be taken. */
static int reserve(firn_graph *graph, items *from, size_t more) {
    int result = from->used + more <= INT32_MAX ? FIRN_OK : FIRN_ENOMEM;
    while (result == FIRN_OK && from->have * CHUNK < from->used + more) {
        result = add_chunk(graph, from);
    }
    return result;
}

/* The link through free ones lies in the item's first bytes. */
static uint32_t take_item(items *from) {
    uint32_t number = from->free;
    if (number != 0) {
        memcpy(&from->free, item_at(from, number), sizeof from->free);
    } else {
        number = ++from->fresh;
    }
    from->used++;
    memset(item_at(from, number), 0, from->item_size);
    return number;
}

static void give_item(items *to, uint32_t number) {
    memcpy(item_at(to, number), &to->free, sizeof to->free);
    to->free = number;
    to->used--;
}

static void free_items(firn_graph *graph, items *all) {
    for (size_t i = 0; i < all->have; i++) {
        firn_heap_free(graph->heap, all->chunks[i], CHUNK * all->item_size);
    }
    firn_heap_free(graph->heap, all->chunks, all->room * sizeof *all->chunks);
}

firn_graph *firn_graph_new(firn_heap *heap) {
    firn_graph *graph = firn_heap_zalloc(heap, sizeof *graph);
    if (graph == NULL) {
        return NULL;
    }
    graph->heap = heap;
    graph->nodes.item_size = sizeof(node);
    graph->edges.item_size = sizeof(edge);
    if (firn_mutex_init(&graph->lock) != 0) {
        firn_heap_free(heap, graph, sizeof *graph);
        return NULL;
    }
    return graph;
}

void firn_graph_free(firn_graph *graph) {
    if (graph == NULL) {
        return;
    }
    free_items(graph, &graph->nodes);
    free_items(graph, &graph->edges);
    firn_heap_free(graph->heap, graph->buckets, graph->bucket_count * sizeof *graph->buckets);
    pthread_mutex_destroy(&graph->lock);
    firn_heap_free(graph->heap, graph, sizeof *graph);
}

/* ---- nodes; the lock is held from here on ---- */

static uint32_t *bucket_of(const firn_graph *graph, uint64_t hash) {
    return &graph->buckets[hash >> 16 & (graph->bucket_count - 1)];
}

static uint32_t find(const firn_graph *graph, uint64_t hash) {
    uint32_t number = graph->bucket_count > 0 ? *bucket_of(graph, hash) : 0;
    while (number != 0 && node_at(graph, number)->hash != hash) {
        number = node_at(graph, number)->next;
    }
    return number;
}

/* Room for so many more nodes. */
static int reserve_nodes(firn_graph *graph, size_t more) {
    int result = reserve(graph, &graph->nodes, more);
    size_t count = graph->bucket_count > 0 ? graph->bucket_count : BUCKETS_MIN;
    while (count < graph->nodes.used + more) {
        count *= 2;
    }
    if (result != FIRN_OK || count == graph->bucket_count) {
        return result;
    }
    uint32_t *before = graph->buckets;
    size_t before_count = graph->bucket_count;
    uint32_t *buckets = firn_heap_zalloc(graph->heap, count * sizeof *buckets);
    if (buckets == NULL) {
        return FIRN_ENOMEM;
    }
    graph->buckets = buckets;
    graph->bucket_count = count;
    for (size_t i = 0; i < before_count; i++) {
        for (uint32_t number = before[i]; number != 0;) {
            node *moved = node_at(graph, number);
            uint32_t next = moved->next;
            uint32_t *bucket = bucket_of(graph, moved->hash);
            moved->next = *bucket;
            *bucket = number;
            number = next;
        }
    }
    firn_heap_free(graph->heap, before, before_count * sizeof *before);
    return FIRN_OK;
}

static void count_nodes(firn_graph *graph) {
    atomic_store_explicit(&graph->node_count, graph->nodes.used, memory_order_relaxed);
}

/* Of a reserved one, if there is none of the hash yet. */
static uint32_t find_or_add(firn_graph *graph, uint64_t hash) {
    uint32_t number = find(graph, hash);
    if (number != 0) {
        return number;
    }
    number = take_item(&graph->nodes);
    node *added = node_at(graph, number);
    uint32_t *bucket = bucket_of(graph, hash);
    *added = (node){.hash = hash, .changes = ++graph->changes, .next = *bucket};
    *bucket = number;
    count_nodes(graph);
    return number;
}

/* Forgets the node if nothing is known of it. */
static void drop_if_unused(firn_graph *graph, uint32_t number) {
    node *unused = node_at(graph, number);
    bool has_entry =
        (unused->flags & PRESENT) != 0 && (unused->out != 0 || (unused->flags & OWNED) != 0);
    if (has_entry || unused->in != 0 || unused->out != 0 || unused->watchers != 0 ||
        (unused->flags & (LISTED | GREY)) != 0) {
        return;
    }
    uint32_t *at = bucket_of(graph, unused->hash);
    while (*at != number) {
        at = &node_at(graph, *at)->next;
    }
    *at = unused->next;
    give_item(&graph->nodes, number);
    /* So that a walk over all numbers knows it for none. */
    memset((char *)unused + sizeof graph->nodes.free, 0, sizeof *unused - sizeof graph->nodes.free);
    count_nodes(graph);
}

/* ---- the doomed ---- */

static void doom(firn_graph *graph, uint32_t number, firn_doom why) {
    node *doomed = node_at(graph, number);
    if ((doomed->flags & PRESENT) == 0) {
        return;
    }
    /* What is invalid stays so, whatever else is said of it. */
    bool graver = (doomed->flags & DOOMED) == 0 || (firn_doom)doomed->why > why;
    if (doomed->why == FIRN_DOOM_CIRCLE && why == FIRN_DOOM_UNKEPT) {
        graver = (doomed->flags & DOOMED) == 0; /* a pardon goes on along the circle */
    }
    doomed->why = graver ? (uint8_t)why : doomed->why;
    doomed->flags |= DOOMED;
    if ((doomed->flags & LISTED) != 0) {
        return;
    }
    doomed->flags |= LISTED;
    doomed->next_doomed = 0;
    if (graph->last_doomed != 0) {
        node_at(graph, graph->last_doomed)->next_doomed = number;
    } else {
        graph->first_doomed = number;
    }
    graph->last_doomed = number;
    atomic_fetch_add_explicit(&graph->doomed_count, 1, memory_order_relaxed);
}

static bool pardon(node *doomed, firn_doom why) {
    if ((doomed->flags & DOOMED) == 0 || (firn_doom)doomed->why != why) {
        return false;
    }
    doomed->flags &= (uint8_t)~DOOMED;
    return true;
}

/* ---- marking ---- */

static void shade(firn_graph *graph, uint32_t number) {
    node *shaded = node_at(graph, number);
    /* What was doomed as part of a circle is not, nor is what it keeps, also after the round. */
    bool pardoned = pardon(shaded, FIRN_DOOM_CIRCLE);
    if (!pardoned && (graph->phase == IDLE || shaded->mark == graph->round)) {
        return;
    }
    shaded->mark = graph->round;
    if ((shaded->flags & GREY) == 0) {
        shaded->flags |= GREY;
        shaded->next_grey = graph->grey;
        graph->grey = number;
    }
}

/* Follows one link, or takes the next node whose links are to be followed. False: none is left. */
static bool follow(firn_graph *graph) {
    if (graph->followed != 0) {
        const edge *link = edge_at(graph, graph->followed);
        graph->followed = link->next_out;
        if (link->kind == FIRN_LINK_KEEPS) {
            shade(graph, link->to);
        }
        return true;
    }
    uint32_t number = graph->grey;
    if (number == 0) {
        return false;
    }
    node *taken = node_at(graph, number);
    graph->grey = taken->next_grey;
    taken->flags &= (uint8_t)~GREY;
    graph->followed = taken->out;
    drop_if_unused(graph, number);
    return true;
}

static bool is_root(const node *one) {
    return (one->flags & PRESENT) != 0 &&
           ((one->flags & OWNED) == 0 || one->keepers == 0 || (one->flags & PINNED) != 0);
}

/* ---- links ---- */

static void add_edge(firn_graph *graph, uint32_t from, uint32_t to, unsigned kind, uint32_t *last) {
    uint32_t number = take_item(&graph->edges);
    node *holder = node_at(graph, from);
    node *target = node_at(graph, to);
    *edge_at(graph, number) = (edge){.from = from, .to = to, .next_in = target->in, .kind = kind};
    if (target->in != 0) {
        edge_at(graph, target->in)->prev_in = number;
    }
    target->in = number;
    if (*last != 0) {
        edge_at(graph, *last)->next_out = number;
    } else {
        holder->out = number;
    }
    *last = number;
    if (kind == FIRN_LINK_KEEPS) {
        target->keepers++;
        target->flags &= (uint8_t)~LOOSE;
        pardon(target, FIRN_DOOM_UNKEPT);
        shade(graph, to);
    }
}

/* Something that kept the entry does not any more. What does may be itself, by a circle. */
static void note_cut(firn_graph *graph, const node *one) {
    if ((one->flags & OWNED) != 0 && one->keepers > 0) {
        atomic_fetch_add_explicit(&graph->cuts, 1, memory_order_relaxed);
    }
}

static void remove_edge(firn_graph *graph, uint32_t number) {
    edge gone = *edge_at(graph, number);
    node *target = node_at(graph, gone.to);
    if (gone.prev_in != 0) {
        edge_at(graph, gone.prev_in)->next_in = gone.next_in;
    } else {
        target->in = gone.next_in;
    }
    if (gone.next_in != 0) {
        edge_at(graph, gone.next_in)->prev_in = gone.prev_in;
    }
    if (graph->followed == number) {
        graph->followed = gone.next_out;
    }
    give_item(&graph->edges, number);
    if (gone.kind == FIRN_LINK_KEEPS) {
        target->keepers--;
        if (target->keepers == 0 && (target->flags & (OWNED | PINNED)) == OWNED) {
            doom(graph, gone.to, FIRN_DOOM_UNKEPT);
        } else if (target->keepers == 0 && (target->flags & OWNED) != 0) {
            target->flags |= LOOSE;
        }
        note_cut(graph, target);
    }
    if (gone.to != gone.from) {
        drop_if_unused(graph, gone.to);
    }
}

static void remove_edges(firn_graph *graph, uint32_t first) {
    while (first != 0) {
        uint32_t next = edge_at(graph, first)->next_out;
        remove_edge(graph, first);
        first = next;
    }
}

static void take_links(firn_graph *graph, uint32_t number) {
    uint32_t first = node_at(graph, number)->out;
    node_at(graph, number)->out = 0;
    remove_edges(graph, first);
}

/* Dooms who has a link of that kind to the node. */
static void doom_holders(firn_graph *graph, uint32_t number, unsigned kind, firn_doom why) {
    for (uint32_t at = node_at(graph, number)->in; at != 0; at = edge_at(graph, at)->next_in) {
        const edge *link = edge_at(graph, at);
        if (link->kind == kind && link->from != number) {
            doom(graph, link->from, why);
        }
    }
}

static void change(firn_graph *graph, uint32_t number) {
    node_at(graph, number)->changes = ++graph->changes;
    doom_holders(graph, number, FIRN_LINK_DEPENDS, FIRN_DOOM_DEPENDS);
}

static bool has_conflict(const firn_graph *graph, const firn_graph_link *links, size_t count) {
    for (size_t i = 0; i < count; i++) {
        bool compared = links[i].change != 0 || links[i].needed;
        uint32_t number = compared ? find(graph, links[i].target) : 0;
        const node *target = number != 0 ? node_at(graph, number) : NULL;
        if (target != NULL && links[i].change != 0 && target->changes != links[i].change) {
            return true;
        }
        if (links[i].needed &&
            (target == NULL || (target->flags & (PRESENT | CONDEMNED)) != PRESENT)) {
            return true;
        }
    }
    return false;
}

static bool is_doomed(const firn_graph *graph, uint64_t hash) {
    return (node_at(graph, find(graph, hash))->flags & (DOOMED | CONDEMNED)) != 0;
}

/* All is reserved. */
static void put(firn_graph *graph, uint64_t hash, uint64_t version, bool owned,
                const firn_graph_link *links, size_t count, bool changed) {
    uint32_t number = find_or_add(graph, hash);
    node *holder = node_at(graph, number);
    uint32_t before = holder->out;
    uint32_t last = 0;
    holder->out = 0;
    holder->version = version;
    holder->flags |= PRESENT;
    holder->flags = (uint8_t)(owned ? holder->flags | OWNED : holder->flags & ~(OWNED | PINNED));
    if (changed) {
        /* That was of the value before. */
        holder->flags &= (uint8_t) ~(DOOMED | CONDEMNED | PINNED | LOOSE);
    }
    for (size_t i = 0; i < count; i++) {
        add_edge(graph, number, find_or_add(graph, links[i].target), links[i].kind, &last);
    }
    /* After the new ones, so that what both keep is kept all the while. */
    remove_edges(graph, before);
    if (is_root(holder)) {
        shade(graph, number);
    }
    note_cut(graph, holder);
    drop_if_unused(graph, number);
}

static void end_entry(firn_graph *graph, uint32_t number) {
    node_at(graph, number)->flags &=
        (uint8_t) ~(PRESENT | OWNED | DOOMED | CONDEMNED | PINNED | LOOSE);
    node_at(graph, number)->version = 0;
    take_links(graph, number);
    drop_if_unused(graph, number);
}

/* ---- what is offered ---- */

bool firn_graph_in_use(const firn_graph *graph) {
    return atomic_load_explicit(&graph->node_count, memory_order_relaxed) != 0;
}

bool firn_graph_has_doomed(const firn_graph *graph) {
    /* Acquire: with the release by whoever takes the last one off the list, so that what was done
     * before that is seen. */
    return atomic_load_explicit(&graph->doomed_count, memory_order_acquire) != 0;
}

uint64_t firn_graph_watch(firn_graph *graph, uint64_t target) {
    uint64_t changes = 0;
    pthread_mutex_lock(&graph->lock);
    if (reserve_nodes(graph, 1) == FIRN_OK) {
        node *watched = node_at(graph, find_or_add(graph, target));
        watched->watchers++;
        changes = watched->changes;
    }
    pthread_mutex_unlock(&graph->lock);
    return changes;
}

void firn_graph_unwatch(firn_graph *graph, uint64_t target) {
    pthread_mutex_lock(&graph->lock);
    uint32_t number = find(graph, target);
    node_at(graph, number)->watchers--;
    drop_if_unused(graph, number);
    pthread_mutex_unlock(&graph->lock);
}

int firn_graph_put(firn_graph *graph, uint64_t hash, uint64_t version, bool owned,
                   const firn_graph_link *links, size_t count, bool changed) {
    pthread_mutex_lock(&graph->lock);
    int result = FIRN_OK;
    bool known = find(graph, hash) != 0;
    if (count > 0 || owned || known) {
        /* Nothing that fails when there is nothing new to be known of. */
        size_t more = count + (known ? 0 : 1);
        result = more > 0 ? reserve_nodes(graph, more) : FIRN_OK;
        if (result == FIRN_OK) {
            result = reserve(graph, &graph->edges, count);
        }
        if (result == FIRN_OK &&
            (has_conflict(graph, links, count) || (!changed && known && is_doomed(graph, hash)))) {
            result = FIRN_CONFLICT;
        }
        if (result == FIRN_OK) {
            put(graph, hash, version, owned, links, count, changed);
        }
    }
    pthread_mutex_unlock(&graph->lock);
    return result;
}

void firn_graph_remove(firn_graph *graph, uint64_t hash) {
    pthread_mutex_lock(&graph->lock);
    uint32_t number = find(graph, hash);
    if (number != 0) {
        change(graph, number);
        end_entry(graph, number);
    }
    pthread_mutex_unlock(&graph->lock);
}

void firn_graph_lose(firn_graph *graph, uint64_t hash, uint64_t version) {
    pthread_mutex_lock(&graph->lock);
    uint32_t number = find(graph, hash);
    if (number != 0 &&
        (node_at(graph, number)->version == version || node_at(graph, number)->version == 0)) {
        doom_holders(graph, number, FIRN_LINK_KEEPS, FIRN_DOOM_HOLDER);
        end_entry(graph, number);
    }
    pthread_mutex_unlock(&graph->lock);
}

size_t firn_graph_kept(firn_graph *graph, uint64_t hash, uint64_t *targets, size_t room) {
    size_t count = 0;
    pthread_mutex_lock(&graph->lock);
    uint32_t number = find(graph, hash);
    for (uint32_t at = number != 0 ? node_at(graph, number)->out : 0; at != 0;
         at = edge_at(graph, at)->next_out) {
        const edge *link = edge_at(graph, at);
        if (link->kind == FIRN_LINK_KEEPS) {
            if (count < room) {
                targets[count] = node_at(graph, link->to)->hash;
            }
            count++;
        }
    }
    pthread_mutex_unlock(&graph->lock);
    return count;
}

void firn_graph_pardon(firn_graph *graph, uint64_t hash) {
    pthread_mutex_lock(&graph->lock);
    uint32_t number = find(graph, hash);
    if (number != 0) {
        node_at(graph, number)->flags &= (uint8_t)~CONDEMNED;
    }
    pthread_mutex_unlock(&graph->lock);
}

bool firn_graph_keeps(firn_graph *graph, uint64_t hash) {
    pthread_mutex_lock(&graph->lock);
    uint32_t number = find(graph, hash);
    bool kept = number != 0 && node_at(graph, number)->keepers > 0;
    pthread_mutex_unlock(&graph->lock);
    return kept;
}

bool firn_graph_next_doomed(firn_graph *graph, firn_doomed *doomed) {
    bool found = false;
    pthread_mutex_lock(&graph->lock);
    while (!found && graph->first_doomed != 0) {
        uint32_t number = graph->first_doomed;
        node *first = node_at(graph, number);
        if ((firn_doom)first->why == FIRN_DOOM_CIRCLE) {
            /* What a new link leads to is pardoned; all of it, before it is too late. */
            while (follow(graph)) {
            }
        }
        graph->first_doomed = first->next_doomed;
        graph->last_doomed = graph->first_doomed != 0 ? graph->last_doomed : 0;
        atomic_fetch_sub_explicit(&graph->doomed_count, 1, memory_order_release);
        found = (first->flags & DOOMED) != 0;
        if (found) {
            *doomed = (firn_doomed){first->hash, first->version, (firn_doom)first->why};
        }
        first->flags &= (uint8_t) ~(DOOMED | LISTED);
        first->flags |= found ? CONDEMNED : 0;
        drop_if_unused(graph, number);
    }
    pthread_mutex_unlock(&graph->lock);
    return found;
}

void firn_graph_doom(firn_graph *graph, uint64_t hash, uint64_t version, firn_doom why) {
    pthread_mutex_lock(&graph->lock);
    uint32_t number = find(graph, hash);
    if (number != 0 && (version == 0 || node_at(graph, number)->version == version)) {
        node_at(graph, number)->version = version;
        node_at(graph, number)->flags &= (uint8_t)~CONDEMNED;
        doom(graph, number, why);
    }
    pthread_mutex_unlock(&graph->lock);
}

void firn_graph_change(firn_graph *graph, uint64_t hash) {
    pthread_mutex_lock(&graph->lock);
    uint32_t number = find(graph, hash);
    if (number != 0) {
        change(graph, number);
    }
    pthread_mutex_unlock(&graph->lock);
}

void firn_graph_pin(firn_graph *graph, uint64_t hash, bool pinned) {
    pthread_mutex_lock(&graph->lock);
    uint32_t number = find(graph, hash);
    if (number != 0 && (node_at(graph, number)->flags & OWNED) != 0) {
        node *one = node_at(graph, number);
        one->flags = (uint8_t)(pinned ? one->flags | PINNED : one->flags & ~PINNED);
        if (pinned) {
            shade(graph, number);
        } else if ((one->flags & LOOSE) != 0) {
            doom(graph, number, FIRN_DOOM_UNKEPT);
        } else {
            note_cut(graph, one);
        }
    }
    pthread_mutex_unlock(&graph->lock);
}

/* One node of the phase. */
static void look(firn_graph *graph, uint32_t number) {
    const node *one = node_at(graph, number);
    if ((one->flags & PRESENT) == 0 || one->mark == graph->round) {
        return;
    }
    if (is_root(one)) {
        shade(graph, number);
    } else if (graph->phase == SWEEP) {
        doom(graph, number, FIRN_DOOM_CIRCLE);
    }
}

bool firn_graph_collect_due(const firn_graph *graph) {
    return atomic_load_explicit(&graph->cuts, memory_order_relaxed) != 0;
}

bool firn_graph_collect_busy(firn_graph *graph) {
    pthread_mutex_lock(&graph->lock);
    bool busy = graph->phase != IDLE;
    pthread_mutex_unlock(&graph->lock);
    return busy;
}

bool firn_graph_collect(firn_graph *graph, size_t steps) {
    bool done = false;
    pthread_mutex_lock(&graph->lock);
    if (graph->phase == IDLE) {
        graph->phase = ROOTS;
        graph->round++;
        graph->cursor = 0;
        atomic_store_explicit(&graph->cuts, 0, memory_order_relaxed);
    }
    for (; steps > 0 && !done; steps--) {
        if (follow(graph)) {
            continue;
        }
        if (graph->cursor < graph->nodes.fresh) {
            look(graph, ++graph->cursor);
        } else if (graph->phase == ROOTS) {
            graph->phase = SWEEP;
            graph->cursor = 0;
        } else {
            graph->phase = IDLE;
            graph->rounds++;
            done = true;
        }
    }
    pthread_mutex_unlock(&graph->lock);
    return done;
}

void firn_graph_get_stats(firn_graph *graph, firn_graph_stats *stats) {
    pthread_mutex_lock(&graph->lock);
    *stats = (firn_graph_stats){
        .nodes = graph->nodes.used,
        .links = graph->edges.used,
        .bytes = graph->nodes.have * CHUNK * sizeof(node) +
                 graph->edges.have * CHUNK * sizeof(edge) +
                 graph->bucket_count * sizeof *graph->buckets,
        .rounds = graph->rounds,
    };
    pthread_mutex_unlock(&graph->lock);
}

size_t firn_graph_list(firn_graph *graph, uint32_t *cursor, uint64_t *hashes, size_t room) {
    size_t count = 0;
    pthread_mutex_lock(&graph->lock);
    while (count < room && *cursor < graph->nodes.fresh) {
        hashes[count++] = node_at(graph, ++*cursor)->hash;
    }
    pthread_mutex_unlock(&graph->lock);
    return count;
}

/* ---- over a restart ---- */

static int save_node(firn_graph *graph, const node *one,
                     int (*write)(void *context, const void *bytes, size_t size), void *context) {
    firn_graph_node_image image = {
        .hash = one->hash, .version = one->version, .flags = one->flags & (PRESENT | OWNED)};
    for (uint32_t at = one->out; at != 0; at = edge_at(graph, at)->next_out) {
        image.links++;
    }
    int result = write(context, &image, sizeof image);
    for (uint32_t at = one->out; at != 0 && result == 0; at = edge_at(graph, at)->next_out) {
        const edge *link = edge_at(graph, at);
        firn_graph_link_image out = {node_at(graph, link->to)->hash, link->kind};
        result = write(context, &out, sizeof out);
    }
    return result;
}

int firn_graph_save(firn_graph *graph, int (*write)(void *context, const void *bytes, size_t size),
                    void *context) {
    int result = 0;
    pthread_mutex_lock(&graph->lock);
    for (uint32_t number = 1; number <= graph->nodes.fresh && result == 0; number++) {
        const node *one = node_at(graph, number);
        if ((one->flags & PRESENT) != 0 && (one->out != 0 || (one->flags & OWNED) != 0)) {
            result = save_node(graph, one, write, context);
        }
    }
    pthread_mutex_unlock(&graph->lock);
    return result;
}
