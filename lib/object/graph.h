/* The graph of links between entries: who keeps whom, and who depends on whom.
 *
 * Entries are known by the hashes of their keys, as in both tiers; a collision of hashes costs a
 * miss at the most. There is a node for each entry that has links, is owned, or is linked to,
 * wherever it sleeps; all of it is in memory. What a change of an entry means for others is put on
 * a list of the doomed, which the owner of the graph works off with none of its locks held.
 *
 * Owned entries live only as long as links keep them. An owned entry that nobody ever linked to
 * waits for its first link; when the last link to it goes, it is doomed. Circles of owned entries
 * that nothing outside keeps are found by marking from the roots, in small steps: a root is what is
 * there and is not owned, or owned and not linked to yet, or pinned. A new link shades what it
 * points to (Dijkstra et al., "On-the-fly garbage collection", 1978), so the graph may change
 * between steps.
 *
 * One lock, taken last but for the heap's. Knows hashes and versions; no objects, no tiers. */
#ifndef FIRN_OBJECT_GRAPH_H
#define FIRN_OBJECT_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <firn/link.h>

#include "base/heap.h"

typedef struct firn_graph firn_graph;

/* A link as the graph knows it. */
typedef struct firn_graph_link {
    uint64_t target; /* hash */
    uint64_t change; /* of the target, as firn_graph_watch gave it; 0: not to be compared */
    unsigned kind;   /* FIRN_LINK_... */
    bool needed;     /* an owned target that has to be there, and not about to go */
} firn_graph_link;

typedef enum firn_doom {
    FIRN_DOOM_DEPENDS, /* what it depends on has changed */
    FIRN_DOOM_HOLDER,  /* what it keeps is lost */
    FIRN_DOOM_UNKEPT,  /* owned, and its last link went */
    FIRN_DOOM_CIRCLE   /* owned, and kept by its like alone */
} firn_doom;

typedef struct firn_doomed {
    uint64_t hash;
    uint64_t version; /* of the entry when it was doomed; 0: any */
    firn_doom why;
} firn_doomed;

typedef struct firn_graph_stats {
    uint64_t nodes;
    uint64_t links;
    uint64_t bytes;  /* of memory */
    uint64_t rounds; /* of marking and sweeping */
} firn_graph_stats;

/* NULL: no memory. */
firn_graph *firn_graph_new(firn_heap *heap);
void firn_graph_free(firn_graph *graph);

/* Whether there is anything in it: if not, nothing below needs to be called for an entry without
 * links. Relaxed: a link that comes at the same moment is ordered by the lock of whoever's entry it
 * is, or else came later. */
bool firn_graph_in_use(const firn_graph *graph);
/* Whether somebody is doomed. Cheap. */
bool firn_graph_has_doomed(const firn_graph *graph);

/* Before the version of a target is looked at: its number of changes so far, never 0. A node is
 * made for it, and stays until firn_graph_unwatch. 0: no memory. */
uint64_t firn_graph_watch(firn_graph *graph, uint64_t target);
void firn_graph_unwatch(firn_graph *graph, uint64_t target);

/* The entry is put with these links, in place of what it had. Called with the entry's shard locked,
 * before it can be found: so no change of a target is missed. changed: it is another value, and a
 * firn_graph_change is to follow as soon as that can be found: so nobody takes the old one for
 * the new.
 *
 * FIRN_OK. FIRN_CONFLICT: a target changed since it was watched, or the value, which is to stay, is
 * doomed; nothing was done. FIRN_ENOMEM: nothing was done. */
int firn_graph_put(firn_graph *graph, uint64_t hash, uint64_t version, bool owned,
                   const firn_graph_link *links, size_t count, bool changed);
/* The entry is no more: deleted, expired or invalid. What depends on it is doomed. Shard locked. */
void firn_graph_remove(firn_graph *graph, uint64_t hash);
/* The entry of that version is lost, though nothing has changed: what depends on it is still valid,
 * and what keeps it is doomed. */
void firn_graph_lose(firn_graph *graph, uint64_t hash, uint64_t version);

/* The entry has another value, or a shorter life: what depends on it is doomed. Shard locked. */
void firn_graph_change(firn_graph *graph, uint64_t hash);

/* Whom the entry's links keep: up to `room` of them into targets. Returns how many there are. */
size_t firn_graph_kept(firn_graph *graph, uint64_t hash, uint64_t *targets, size_t room);
/* The doomed entry that was given last by firn_graph_next_doomed stays after all. */
void firn_graph_pardon(firn_graph *graph, uint64_t hash);

/* Hashes of nodes, from *cursor on (0: the first), which moves on: up to `room`. Returns how many;
 * 0: there are no more. Some may be of nodes that are gone. */
size_t firn_graph_list(firn_graph *graph, uint32_t *cursor, uint64_t *hashes, size_t room);

/* Whether a link of an entry that is there keeps it. */
bool firn_graph_keeps(firn_graph *graph, uint64_t hash);

/* Dooms an entry that has links, or is owned, if it is of that version; 0: whatever version. */
void firn_graph_doom(firn_graph *graph, uint64_t hash, uint64_t version, firn_doom why);
/* The next doomed entry, if it still is. False: there is none. */
bool firn_graph_next_doomed(firn_graph *graph, firn_doomed *doomed);

/* The entry is pinned, or is not any more. Only owned ones need to be told of, and the flag goes
 * with the entry or its being owned. Shard locked. */
void firn_graph_pin(firn_graph *graph, uint64_t hash, bool pinned);

/* A step of marking and sweeping: up to so many nodes and links are looked at. True: the round is
 * done. */
bool firn_graph_collect(firn_graph *graph, size_t steps);
/* Whether there may be a new circle since the last round began: something that kept an owned entry
 * does not any more, and something else does. */
bool firn_graph_collect_due(const firn_graph *graph);
/* Whether a round is under way. */
bool firn_graph_collect_busy(firn_graph *graph);

void firn_graph_get_stats(firn_graph *graph, firn_graph_stats *stats);

/* ---- for keeping it over a restart ---- */

enum { FIRN_GRAPH_IMAGE_PRESENT = 1, FIRN_GRAPH_IMAGE_OWNED = 2 };

typedef struct firn_graph_node_image {
    uint64_t hash;
    uint64_t version;
    uint32_t flags; /* FIRN_GRAPH_IMAGE_...; it is always there */
    uint32_t links; /* that follow */
} firn_graph_node_image;

typedef struct firn_graph_link_image {
    uint64_t target;
    uint64_t kind;
} firn_graph_link_image;

/* Calls write for each node that has links or is owned, and behind it for each of its links.
 * Returns what write returned, if that was not 0. firn_graph_put, without a change, takes it back
 * in. */
int firn_graph_save(firn_graph *graph, int (*write)(void *context, const void *bytes, size_t size),
                    void *context);

#endif
