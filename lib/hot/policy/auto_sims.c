/* Miniature simulations: one directory of sampled keys that all candidates share, and a heap of
 * the resident ones for each. See auto_sims.h.
 *
 * Costs: about 230 bytes a simulated entry, of which there are a fixed share of the real ones and
 * some hundreds at least; some 0.3 us a sampled access. */
#include "hot/policy/auto_sims.h"

#include <string.h>

#include "hot/policy_host.h"

/* The choice: misses of the last some turns count. The candidate followed is left for one that
 * missed less: by a share, by one miss at least, and by a part of what going over may cost, which
 * is a miss for each entry that the other holds and this one does not. */
#define WEIGHT_MAX  1e12
#define AUTO_MEMORY 10.0 /* turns: accesses over entries */
#define AUTO_MARGIN 0.005
#define AUTO_LEAD   1.0
#define AUTO_COST   0.1

enum {
    ENTRIES_MIN = 1024, /* simulated entries: up to here, all are */
    ENTRIES_MAX = 8192, /* and never more */
    ENTRIES_SHARE = 50, /* between the two, one of so many */
    KEYS_PER_ENTRY = 3, /* keys remembered for each entry */
    ROOM_FIRST = 256,
    APART_AGAIN = 2, /* how far candidates are apart is counted so often in a turn at most */
    SIZES_APART = 2, /* classes between two sizes that make a difference */
    NONE = 0xffff,
    HEAPS = AUTO_CANDIDATES + 1, /* LIRS has two: those that stay, and those on trial */
    TRIAL = AUTO_CANDIDATES
};

typedef struct sim_key {
    uint32_t hash;
    uint32_t charge;       /* changes only while resident nowhere */
    uint32_t last;         /* the clock at the last access */
    uint16_t chain;        /* next of the same bucket, or next free */
    uint16_t newer, older; /* in order of access, around keys[0] */
    bool on_trial;
    uint8_t uses[AUTO_CANDIDATES];
    uint16_t place[AUTO_CANDIDATES]; /* in the candidate's heap; NONE: not resident */
    float worth[AUTO_CANDIDATES];    /* the least goes first, among equals the longest unused */
} sim_key;

typedef struct sim_heap {
    uint16_t *keys;
    unsigned count;
    uint64_t charge;
} sim_heap;

struct auto_sims {
    const firn_policy_host *host;
    uint64_t capacity; /* of the real cache */
    double rate;       /* of keys sampled */
    uint64_t limit;    /* hashes below are */
    uint32_t clock;
    sim_key *keys; /* [0] is no key but the ends of the order of access */
    uint16_t *buckets, *heap_memory;
    unsigned room; /* of keys, and buckets */
    unsigned free;
    sim_heap heaps[HEAPS];
    float inflation[AUTO_CANDIDATES];
    double inflation_base[AUTO_CANDIDATES]; /* what was taken off to keep the float exact */
    unsigned evictions[AUTO_CANDIDATES];    /* since then */
    /* Misses, at the weight there was then: it grows with each access, so older ones fade. */
    double misses[AUTO_CANDIDATES];
    double weight, growth;
    unsigned best;
    unsigned
        apart[AUTO_CANDIDATES]; /* keys resident there and not in the best, when last counted */
    uint32_t apart_at;          /* the clock then */
    bool apart_known;
    bool sized;   /* candidates that look at sizes take part */
    bool evicted; /* any candidate has */
    unsigned size_class_min, size_class_max;
};

/* Classes ------------------------------------------------------------------------------------ */

static const uint8_t use_class_of[AUTO_USES_MAX + 1] = {
    0,  0,  1,  2,  3,  4,  5,  6,  7,  7,  8,  8,  9,  9,  9,  9,  10, 10, 10, 10, 11, 11,
    11, 11, 12, 12, 12, 12, 12, 12, 12, 12, 13, 13, 13, 13, 13, 13, 13, 13, 14, 14, 14, 14,
    14, 14, 14, 14, 14, 14, 14, 14, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15};
static const uint8_t uses_of_class[AUTO_USE_CLASSES] = {1,  2,  3,  4,  5,  6,  7,  8,
                                                        10, 13, 17, 21, 27, 35, 45, 57};

static const float root_of_class[AUTO_USE_CLASSES] = {
    1.000F, 1.414F, 1.732F, 2.000F, 2.236F, 2.449F, 2.646F, 2.828F,
    3.162F, 3.606F, 4.123F, 4.583F, 5.196F, 5.916F, 6.708F, 7.550F};

unsigned auto_use_class(unsigned uses) {
    return use_class_of[uses > AUTO_USES_MAX ? AUTO_USES_MAX : uses];
}

/* Two classes for each power of two, up to 2^32. */
unsigned auto_size_class(uint64_t charge) {
    if (charge >= UINT64_C(1) << 32) {
        return AUTO_SIZE_CLASSES - 1;
    }
    if (charge < 2) {
        return 0;
    }
    unsigned log = 63U - (unsigned)__builtin_clzll(charge);
    return 2 * log + (unsigned)(charge >> (log - 1) & 1);
}

unsigned auto_uses_again(unsigned candidate, unsigned uses) {
    unsigned again = (candidate == AUTO_USES_SIZE ? uses / 2 : uses) + 1;
    return again < AUTO_USES_MAX ? again : AUTO_USES_MAX;
}

float auto_value(unsigned candidate, unsigned use_class, unsigned size_class) {
    float uses = uses_of_class[use_class];
    float per_size = (size_class & 1 ? 0.577F : 0.816F) / (float)(UINT64_C(1) << size_class / 2);
    switch (candidate) {
    case AUTO_ROOT:
        return root_of_class[use_class];
    case AUTO_USES:
        return uses;
    case AUTO_SQUARE:
        return uses * uses;
    case AUTO_USES_SIZE:
        return uses * per_size;
    case AUTO_SQUARE_SIZE:
        return uses * uses * per_size;
    default:
        return 0;
    }
}

/* Heaps -------------------------------------------------------------------------------------- */

static unsigned candidate_of(unsigned heap) {
    return heap == TRIAL ? AUTO_LIRS : heap;
}

static bool goes_before(const auto_sims *sims, unsigned candidate, unsigned a, unsigned b) {
    const sim_key *left = &sims->keys[a];
    const sim_key *right = &sims->keys[b];
    if (left->worth[candidate] != right->worth[candidate]) {
        return left->worth[candidate] < right->worth[candidate];
    }
    return left->last < right->last;
}

static void heap_sift(auto_sims *sims, unsigned heap, unsigned place, unsigned key) {
    sim_heap *h = &sims->heaps[heap];
    unsigned candidate = candidate_of(heap);
    while (place > 0 && goes_before(sims, candidate, key, h->keys[(place - 1) / 2])) {
        h->keys[place] = h->keys[(place - 1) / 2];
        sims->keys[h->keys[place]].place[candidate] = (uint16_t)place;
        place = (place - 1) / 2;
    }
    for (unsigned child; (child = 2 * place + 1) < h->count; place = child) {
        child += child + 1 < h->count &&
                 goes_before(sims, candidate, h->keys[child + 1], h->keys[child]);
        if (!goes_before(sims, candidate, h->keys[child], key)) {
            break;
        }
        h->keys[place] = h->keys[child];
        sims->keys[h->keys[place]].place[candidate] = (uint16_t)place;
    }
    h->keys[place] = (uint16_t)key;
    sims->keys[key].place[candidate] = (uint16_t)place;
}

static void heap_add(auto_sims *sims, unsigned heap, unsigned key) {
    sim_heap *h = &sims->heaps[heap];
    h->charge += sims->keys[key].charge;
    heap_sift(sims, heap, h->count++, key);
}

static void heap_remove(auto_sims *sims, unsigned heap, unsigned key) {
    sim_heap *h = &sims->heaps[heap];
    unsigned place = sims->keys[key].place[candidate_of(heap)];
    unsigned last = h->keys[--h->count];
    h->charge -= sims->keys[key].charge;
    sims->keys[key].place[candidate_of(heap)] = NONE;
    if (place < h->count) {
        heap_sift(sims, heap, place, last);
    }
}

/* Keys --------------------------------------------------------------------------------------- */

static uint16_t *bucket_of(const auto_sims *sims, uint32_t hash) {
    return &sims->buckets[(uint64_t)(hash * UINT32_C(0x9e3779b1)) * sims->room >> 32];
}

static void order_remove(auto_sims *sims, unsigned key) {
    sim_key *k = &sims->keys[key];
    sims->keys[k->newer].older = k->older;
    sims->keys[k->older].newer = k->newer;
}

static void order_add_newest(auto_sims *sims, unsigned key) {
    sim_key *ends = &sims->keys[0];
    sim_key *k = &sims->keys[key];
    k->newer = 0;
    k->older = ends->older;
    sims->keys[k->older].newer = (uint16_t)key;
    ends->older = (uint16_t)key;
}

static unsigned heap_of(const sim_key *key, unsigned candidate) {
    return candidate == AUTO_LIRS && key->on_trial ? TRIAL : candidate;
}

static bool is_resident(const sim_key *key) {
    for (unsigned c = 0; c < AUTO_CANDIDATES; c++) {
        if (key->place[c] != NONE) {
            return true;
        }
    }
    return false;
}

static void forget(auto_sims *sims, unsigned key) {
    sim_key *k = &sims->keys[key];
    for (unsigned c = 0; c < AUTO_CANDIDATES; c++) {
        if (k->place[c] != NONE) {
            heap_remove(sims, heap_of(k, c), key);
        }
    }
    uint16_t *link = bucket_of(sims, k->hash);
    while (*link != key) {
        link = &sims->keys[*link].chain;
    }
    *link = k->chain;
    order_remove(sims, key);
    k->chain = (uint16_t)sims->free;
    sims->free = key;
}

/* The key that has not been used for longest, but rather none that is resident somewhere. */
static void forget_oldest(auto_sims *sims) {
    unsigned key = sims->keys[0].newer;
    for (unsigned tries = 0; tries < 16 && is_resident(&sims->keys[key]); tries++) {
        order_remove(sims, key);
        order_add_newest(sims, key);
        key = sims->keys[0].newer;
    }
    forget(sims, key);
}

static size_t heaps_size(unsigned room) {
    return (size_t)HEAPS * room * sizeof(uint16_t);
}

static void free_room(const auto_sims *sims, sim_key *keys, uint16_t *buckets, uint16_t *heaps,
                      unsigned room) {
    if (keys != NULL) {
        firn_policy_free(sims->host, keys, room * sizeof *keys);
    }
    if (buckets != NULL) {
        firn_policy_free(sims->host, buckets, room * sizeof *buckets);
    }
    if (heaps != NULL) {
        firn_policy_free(sims->host, heaps, heaps_size(room));
    }
}

/* Room for so many keys; what is there stays. Some 0.1 ms at most. */
static bool grow(auto_sims *sims, unsigned room) {
    sim_key *keys = firn_policy_alloc(sims->host, room * sizeof *keys);
    uint16_t *buckets = firn_policy_alloc(sims->host, room * sizeof *buckets);
    uint16_t *heaps = firn_policy_alloc(sims->host, heaps_size(room));
    if (keys == NULL || buckets == NULL || heaps == NULL) {
        free_room(sims, keys, buckets, heaps, room);
        return false;
    }
    unsigned old = sims->room;
    if (old > 0) {
        memcpy(keys, sims->keys, old * sizeof *keys);
    }
    for (unsigned h = 0; h < HEAPS; h++) {
        if (sims->heaps[h].count > 0) {
            memcpy(heaps + (size_t)h * room, sims->heaps[h].keys,
                   sims->heaps[h].count * sizeof *heaps);
        }
        sims->heaps[h].keys = heaps + (size_t)h * room;
    }
    free_room(sims, sims->keys, sims->buckets, sims->heap_memory, old);
    sims->keys = keys;
    sims->buckets = buckets;
    sims->heap_memory = heaps;
    sims->room = room;
    for (unsigned i = 0; i < room; i++) {
        buckets[i] = NONE;
    }
    for (unsigned key = keys[0].older; key != 0; key = keys[key].older) {
        uint16_t *bucket = bucket_of(sims, keys[key].hash);
        keys[key].chain = *bucket;
        *bucket = (uint16_t)key;
    }
    for (unsigned key = old > 0 ? old : 1; key < room; key++) {
        keys[key].chain = (uint16_t)sims->free;
        sims->free = key;
    }
    return true;
}

auto_sims *auto_sims_new(const firn_policy_host *host, uint64_t capacity) {
    auto_sims *sims = firn_policy_alloc(host, sizeof *sims);
    if (sims == NULL) {
        return NULL;
    }
    sims->host = host;
    sims->capacity = capacity;
    sims->rate = 1;
    sims->limit = UINT64_C(1) << 32;
    sims->free = NONE;
    sims->weight = 1;
    sims->growth = 1;
    sims->best = AUTO_LIRS; /* from which to the others it is nearer than from them to it */
    sims->size_class_min = AUTO_SIZE_CLASSES;
    if (!grow(sims, ROOM_FIRST)) {
        firn_policy_free(host, sims, sizeof *sims);
        return NULL;
    }
    return sims;
}

void auto_sims_free(auto_sims *sims) {
    if (sims != NULL) {
        free_room(sims, sims->keys, sims->buckets, sims->heap_memory, sims->room);
        firn_policy_free(sims->host, sims, sizeof *sims);
    }
}

void auto_sims_resize(auto_sims *sims, uint64_t capacity) {
    sims->capacity = capacity;
}

/* Sampling ----------------------------------------------------------------------------------- */

/* The sample looks at other bits than the table of the cache and the choice of the shard do. */
static uint32_t spread(uint64_t hash) {
    return (uint32_t)(hash * UINT64_C(0xd6e8feb86659fd93) >> 32);
}

bool auto_sims_samples(const auto_sims *sims, uint64_t hash) {
    return spread(hash) < sims->limit;
}

static unsigned entries_simulated(const auto_sims *sims) {
    unsigned most = 0;
    for (unsigned h = 0; h < AUTO_CANDIDATES; h++) {
        unsigned count = sims->heaps[h].count + (h == AUTO_LIRS ? sims->heaps[TRIAL].count : 0);
        most = count > most ? count : most;
    }
    return most;
}

static void sample_less(auto_sims *sims) {
    sims->rate *= 0.75;
    sims->limit = (uint64_t)(sims->rate * 4294967296.0);
    for (unsigned key = sims->keys[0].older, next; key != 0; key = next) {
        next = sims->keys[key].older;
        /* the hash kept is spread already */
        if (sims->keys[key].hash >= sims->limit) {
            forget(sims, key);
        }
    }
}

/* Candidates --------------------------------------------------------------------------------- */

static void evict(auto_sims *sims, unsigned heap) {
    unsigned candidate = candidate_of(heap);
    unsigned victim = sims->heaps[heap].keys[0];
    sims->inflation[candidate] = sims->keys[victim].worth[candidate];
    sims->evicted = true;
    heap_remove(sims, heap, victim);
    unsigned count = sims->heaps[candidate].count;
    if (++sims->evictions[candidate] > 64 * count + 1024) {
        float base = sims->inflation[candidate];
        sims->evictions[candidate] = 0;
        sims->inflation_base[candidate] += (double)base;
        sims->inflation[candidate] = 0;
        for (unsigned i = 0; i < count; i++) {
            sims->keys[sims->heaps[candidate].keys[i]].worth[candidate] -= base;
        }
    }
}

static void count_miss(auto_sims *sims, unsigned candidate) {
    sims->misses[candidate] += sims->weight;
}

static void access_greedy(auto_sims *sims, unsigned candidate, unsigned key, uint64_t capacity) {
    sim_key *k = &sims->keys[key];
    sim_heap *heap = &sims->heaps[candidate];
    bool hit = k->place[candidate] != NONE;
    if (hit) {
        k->uses[candidate] = (uint8_t)(k->uses[candidate] + (k->uses[candidate] < AUTO_USES_MAX));
    } else {
        k->uses[candidate] = (uint8_t)auto_uses_again(candidate, k->uses[candidate]);
        count_miss(sims, candidate);
        if (k->charge > capacity) {
            return;
        }
        while (heap->charge + k->charge > capacity) {
            evict(sims, candidate);
        }
    }
    k->worth[candidate] =
        sims->inflation[candidate] +
        auto_value(candidate, auto_use_class(k->uses[candidate]), auto_size_class(k->charge));
    if (hit) {
        heap_sift(sims, candidate, k->place[candidate], key);
    } else {
        heap_add(sims, candidate, key);
    }
}

/* LIRS without its stack: a key is in the stack if its last use but one is younger than the last
 * use of the oldest of those that stay. */
static void access_lirs(auto_sims *sims, unsigned key, uint64_t capacity, uint32_t before) {
    sim_key *k = &sims->keys[key];
    sim_heap *stay = &sims->heaps[AUTO_LIRS];
    sim_heap *trial = &sims->heaps[TRIAL];
    uint64_t trial_most = capacity / AUTO_TRIAL_SHARE > 0 ? capacity / AUTO_TRIAL_SHARE : 1;
    bool resident = k->place[AUTO_LIRS] != NONE;
    if (resident && !k->on_trial) {
        heap_sift(sims, AUTO_LIRS, k->place[AUTO_LIRS], key);
        return;
    }
    bool young = before != 0 && stay->count > 0 && before > sims->keys[stay->keys[0]].last;
    if (resident) {
        if (!young) {
            heap_sift(sims, TRIAL, k->place[AUTO_LIRS], key);
            return;
        }
        heap_remove(sims, TRIAL, key);
    } else {
        count_miss(sims, AUTO_LIRS);
        if (k->charge > capacity) {
            return;
        }
        while (stay->charge + trial->charge + k->charge > capacity) {
            evict(sims, trial->count > 0 ? TRIAL : AUTO_LIRS);
        }
        young = young || (trial->count == 0 && stay->charge + k->charge + trial_most <= capacity);
    }
    k->on_trial = !young;
    heap_add(sims, young ? AUTO_LIRS : TRIAL, key);
    while (stay->count > 0 && stay->charge + trial_most > capacity) {
        unsigned oldest = stay->keys[0];
        heap_remove(sims, AUTO_LIRS, oldest);
        sims->keys[oldest].on_trial = true;
        heap_add(sims, TRIAL, oldest);
    }
}

static bool sizes_differ(const auto_sims *sims) {
    return sims->size_class_max >= sims->size_class_min + SIZES_APART;
}

static unsigned find(auto_sims *sims, uint32_t hash) {
    unsigned key = *bucket_of(sims, hash);
    while (key != NONE && sims->keys[key].hash != hash) {
        key = sims->keys[key].chain;
    }
    return key;
}

/* The old ones fade. */
static void age_misses(auto_sims *sims) {
    if (sims->clock % 64 == 0) {
        sims->growth = 1 + 1 / (AUTO_MEMORY * (entries_simulated(sims) + 16.0));
    }
    sims->weight *= sims->growth;
    if (sims->weight > WEIGHT_MAX) {
        for (unsigned c = 0; c < AUTO_CANDIDATES; c++) {
            sims->misses[c] /= sims->weight;
        }
        sims->weight = 1;
    }
}

static void count_apart(auto_sims *sims) {
    for (unsigned c = 0; c < AUTO_CANDIDATES; c++) {
        sims->apart[c] = 0;
    }
    for (unsigned key = sims->keys[0].older; key != 0; key = sims->keys[key].older) {
        const sim_key *k = &sims->keys[key];
        for (unsigned c = 0; k->place[sims->best] == NONE && c < AUTO_CANDIDATES; c++) {
            sims->apart[c] += k->place[c] != NONE;
        }
    }
    sims->apart_at = sims->clock;
    sims->apart_known = true;
}

static void choose(auto_sims *sims) {
    unsigned last = sims->sized ? AUTO_CANDIDATES : AUTO_USES_SIZE;
    double weight = 1 / sims->weight;
    double enough = sims->misses[sims->best] * weight * (1 - AUTO_MARGIN) - AUTO_LEAD;
    double least = enough;
    unsigned best = sims->best;
    for (unsigned c = 0; c < last; c++) {
        double misses = sims->misses[c] * weight;
        if (c == sims->best || misses >= enough) {
            continue;
        }
        if (!sims->apart_known ||
            sims->clock - sims->apart_at > entries_simulated(sims) / APART_AGAIN) {
            count_apart(sims);
        }
        if (misses < least - AUTO_COST * sims->apart[c]) {
            least = misses;
            best = c;
        }
    }
    sims->apart_known = sims->apart_known && best == sims->best;
    sims->best = best;
}

/* Sizes begin to differ: the candidates that look at them begin where one is that does not. Unless
 * it is known better, one of them is right: that many small entries hit more than a few large ones
 * is so with nearly every kind of stream. */
static void begin_sized(auto_sims *sims) {
    sims->sized = true;
    sims->apart_known = false;
    const sim_heap *from = &sims->heaps[AUTO_USES];
    for (unsigned c = AUTO_USES_SIZE; c < AUTO_CANDIDATES; c++) {
        sims->misses[c] = sims->misses[AUTO_USES];
        for (unsigned i = 0; i < from->count; i++) {
            unsigned key = from->keys[i];
            sim_key *k = &sims->keys[key];
            k->uses[c] = k->uses[AUTO_USES];
            k->worth[c] = auto_value(c, auto_use_class(k->uses[c]), auto_size_class(k->charge));
            heap_add(sims, c, key);
        }
    }
    if (!sims->evicted) {
        sims->best = AUTO_USES_SIZE;
    }
}

bool auto_sims_access(auto_sims *sims, uint64_t hash, uint64_t charge, uint64_t entries) {
    uint32_t spread_hash = spread(hash);
    unsigned key = find(sims, spread_hash);
    if (key == NONE) {
        unsigned simulated = entries_simulated(sims);
        uint64_t most = entries / ENTRIES_SHARE;
        most = most < ENTRIES_MIN ? ENTRIES_MIN : most > ENTRIES_MAX ? ENTRIES_MAX : most;
        if (simulated > most) {
            sample_less(sims);
            if (spread_hash >= sims->limit) {
                return true;
            }
        }
        if (sims->free == NONE && sims->room < KEYS_PER_ENTRY * simulated &&
            !grow(sims, sims->room + sims->room / 2)) {
            return false;
        }
        if (sims->free == NONE) {
            forget_oldest(sims);
        }
        key = sims->free;
        sim_key *k = &sims->keys[key];
        sims->free = k->chain;
        k->hash = spread_hash;
        k->last = 0;
        uint16_t *bucket = bucket_of(sims, spread_hash);
        k->chain = *bucket;
        *bucket = (uint16_t)key;
        for (unsigned c = 0; c < AUTO_CANDIDATES; c++) {
            k->place[c] = NONE;
            k->uses[c] = 0;
        }
    } else {
        order_remove(sims, key);
    }
    order_add_newest(sims, key);
    sim_key *k = &sims->keys[key];
    if (!is_resident(k)) {
        k->charge = charge < UINT32_MAX ? (uint32_t)charge : UINT32_MAX;
        unsigned size_class = auto_size_class(charge);
        sims->size_class_min =
            size_class < sims->size_class_min ? size_class : sims->size_class_min;
        sims->size_class_max =
            size_class > sims->size_class_max ? size_class : sims->size_class_max;
    }
    uint32_t before = k->last;
    if (++sims->clock == 0) {
        sims->clock = 1; /* once in 2^32 sampled accesses: order is lost, and comes back */
    }
    k->last = sims->clock;
    double share = (double)sims->capacity * sims->rate;
    uint64_t capacity = share < 1 ? 1 : (uint64_t)(share + 0.5);
    if (!sims->sized && sizes_differ(sims)) {
        begin_sized(sims);
    }
    unsigned last = sims->sized ? AUTO_CANDIDATES : AUTO_USES_SIZE;
    for (unsigned c = 0; c < last; c++) {
        if (c == AUTO_LIRS) {
            access_lirs(sims, key, capacity, before);
        } else {
            access_greedy(sims, c, key, capacity);
        }
    }
    age_misses(sims);
    choose(sims);
    return true;
}

unsigned auto_sims_best(const auto_sims *sims) {
    return sims->best;
}

double auto_sims_inflation(const auto_sims *sims, unsigned candidate) {
    return sims->inflation_base[candidate] + (double)sims->inflation[candidate];
}
