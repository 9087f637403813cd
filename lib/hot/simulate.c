/* See simulate.h: a hash table of nodes without keys or values, and the policy's own code. */
#include "hot/simulate.h"

#include <stdbool.h>
#include <string.h>

#include "hot/policy_host.h"

enum { TABLE_MIN = 64, CHUNK_NODES = 256 };

typedef struct node {
    struct firn_entry entry; /* first: the policy's view of it */
    uint64_t hash;
    uint64_t charge;
    struct node *next; /* of the bucket, or of the free nodes */
    uint64_t unused;   /* so that nodes are aligned like entries */
} node;

_Static_assert(sizeof(node) % 16 == 0, "entries are aligned to 16");

typedef struct chunk {
    struct chunk *next;
    uint64_t unused;
    node nodes[CHUNK_NODES];
} chunk;

struct firn_simulation {
    firn_policy_host host;
    firn_heap *heap; /* one reference */
    const firn_policy *policy;
    void *state;
    void (*evicted)(void *context, uint64_t key_hash, uint64_t charge); /* NULL: nobody watches */
    void *evicted_context;
    uint64_t capacity;
    uint64_t bytes;
    _Atomic uint64_t overhead;
    node **buckets;
    uint64_t mask;
    uint64_t count;
    node *free;
    chunk *chunks;
};

static node *node_of(const firn_entry *entry) {
    return (node *)(uintptr_t)entry;
}

static uint64_t hash_of(const firn_policy_host *host, const firn_entry *entry) {
    (void)host;
    return node_of(entry)->hash;
}

static uint64_t charge_of(const firn_policy_host *host, const firn_entry *entry) {
    (void)host;
    return node_of(entry)->charge;
}

/* Traces do not tell. */
static uint64_t cost_of(const firn_policy_host *host, const firn_entry *entry) {
    (void)host;
    (void)entry;
    return 0;
}

static size_t table_bytes(uint64_t mask) {
    return (size_t)(mask + 1) * sizeof(node *);
}

firn_simulation *firn_simulation_new(firn_heap *heap, const firn_policy *policy,
                                     uint64_t capacity) {
    firn_simulation *self = firn_heap_zalloc(heap, sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    self->host = (firn_policy_host){hash_of, charge_of, cost_of, heap, &self->overhead};
    self->heap = firn_heap_ref(heap);
    self->capacity = capacity;
    self->mask = TABLE_MIN - 1;
    self->buckets = firn_heap_zalloc(heap, table_bytes(self->mask));
    void *state = firn_heap_zalloc(heap, policy->state_size);
    self->policy = policy;
    if (self->buckets == NULL || state == NULL ||
        policy->init(state, &self->host, capacity) != FIRN_OK) {
        firn_heap_free(heap, state, policy->state_size);
        firn_simulation_close(self);
        return NULL;
    }
    self->state = state;
    return self;
}

int firn_simulation_open(firn_simulation **simulation, const char *policy, const firn_policy *ops,
                         uint64_t capacity) {
    if (simulation == NULL) {
        return FIRN_EINVAL;
    }
    *simulation = NULL;
    const firn_policy *chosen = ops != NULL ? ops : firn_policy_by_name(policy);
    if (chosen == NULL || capacity == 0) {
        return FIRN_EINVAL;
    }
    firn_heap *heap = firn_heap_new(NULL);
    if (heap == NULL) {
        return FIRN_ENOMEM;
    }
    *simulation = firn_simulation_new(heap, chosen, capacity);
    firn_heap_unref(heap);
    return *simulation != NULL ? FIRN_OK : FIRN_ENOMEM;
}

void firn_simulation_close(firn_simulation *self) {
    if (self == NULL) {
        return;
    }
    firn_heap *heap = self->heap;
    if (self->state != NULL) {
        self->policy->fini(self->state);
        firn_heap_free(heap, self->state, self->policy->state_size);
    }
    while (self->chunks != NULL) {
        chunk *next = self->chunks->next;
        firn_heap_free(heap, self->chunks, sizeof *self->chunks);
        self->chunks = next;
    }
    firn_heap_free(heap, self->buckets, table_bytes(self->mask));
    firn_heap_free(heap, self, sizeof *self);
    firn_heap_unref(heap);
}

static node **bucket_of(const firn_simulation *self, uint64_t hash) {
    return &self->buckets[hash & self->mask];
}

/* Doubles the table; without memory it stays as it is, and is slower. */
static void grow(firn_simulation *self) {
    uint64_t mask = self->mask * 2 + 1;
    node **buckets = firn_heap_zalloc(self->heap, table_bytes(mask));
    if (buckets == NULL) {
        return;
    }
    for (uint64_t i = 0; i <= self->mask; i++) {
        for (node *at = self->buckets[i]; at != NULL;) {
            node *next = at->next;
            at->next = buckets[at->hash & mask];
            buckets[at->hash & mask] = at;
            at = next;
        }
    }
    firn_heap_free(self->heap, self->buckets, table_bytes(self->mask));
    self->buckets = buckets;
    self->mask = mask;
}

static node *take_node(firn_simulation *self) {
    if (self->free == NULL) {
        chunk *more = firn_heap_zalloc(self->heap, sizeof *more);
        if (more == NULL) {
            return NULL;
        }
        more->next = self->chunks;
        self->chunks = more;
        for (unsigned i = 0; i < CHUNK_NODES; i++) {
            more->nodes[i].next = self->free;
            self->free = &more->nodes[i];
        }
    }
    node *taken = self->free;
    self->free = taken->next;
    memset(taken, 0, sizeof *taken);
    return taken;
}

/* The policy has let go of it. */
static void unlink_node(firn_simulation *self, node *gone) {
    node **at = bucket_of(self, gone->hash);
    while (*at != gone) {
        at = &(*at)->next;
    }
    *at = gone->next;
    self->bytes -= gone->charge;
    self->count--;
    gone->next = self->free;
    self->free = gone;
}

static bool evict(firn_simulation *self) {
    firn_entry *victim = self->policy->victim(self->state);
    if (victim == NULL) {
        return false;
    }
    self->policy->remove(self->state, victim, 1);
    node *gone = node_of(victim);
    unlink_node(self, gone);
    if (self->evicted != NULL) {
        self->evicted(self->evicted_context, gone->hash, gone->charge);
    }
    return true;
}

static node *find(const firn_simulation *self, uint64_t hash) {
    node *at = *bucket_of(self, hash);
    while (at != NULL && at->hash != hash) {
        at = at->next;
    }
    return at;
}

int firn_simulation_remove(firn_simulation *self, uint64_t key_hash) {
    node *gone = find(self, key_hash);
    if (gone == NULL) {
        return FIRN_NOT_FOUND;
    }
    self->policy->remove(self->state, &gone->entry, 0);
    unlink_node(self, gone);
    return FIRN_OK;
}

void firn_simulation_watch(firn_simulation *self,
                           void (*evicted)(void *context, uint64_t key_hash, uint64_t charge),
                           void *context) {
    self->evicted = evicted;
    self->evicted_context = context;
}

int firn_simulation_access(firn_simulation *self, uint64_t key_hash, uint64_t charge) {
    node *at = find(self, key_hash);
    if (at != NULL) {
        if (self->policy->hits != FIRN_HITS_MARK) {
            self->policy->hit(self->state, &at->entry);
        } else if (firn_entry_mark(&at->entry) < self->policy->mark_max) {
            firn_entry_set_mark(&at->entry, firn_entry_mark(&at->entry) + 1);
        }
        return FIRN_OK;
    }
    charge = charge > 0 ? charge : 1;
    if (charge > self->capacity) {
        return FIRN_NOT_FOUND;
    }
    while (self->bytes > self->capacity - charge && evict(self)) {
    }
    node *made = take_node(self);
    if (made == NULL) {
        return FIRN_ENOMEM;
    }
    if (self->count > self->mask) {
        grow(self);
    }
    made->hash = key_hash;
    made->charge = charge;
    made->next = *bucket_of(self, key_hash);
    *bucket_of(self, key_hash) = made;
    self->count++;
    self->bytes += charge;
    self->policy->insert(self->state, &made->entry);
    return FIRN_NOT_FOUND;
}
