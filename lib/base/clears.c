/* See clears.h: an open-addressed table of names and versions. It grows into a new table; old ones
 * stay, for a reader may be in them, and come to no more than the newest.
 *
 * When tags are forgotten, what is kept of them goes into a second table of the same size, and the
 * next time from there into the first one again: no more than two are ever needed. A reader may
 * still be in the one that is emptied and filled again, where it misses what was cleared, or takes
 * one name's version for another's. So before anything in it changes, `reuses` is counted up, and a
 * reader believes what it found only if the count is what it was before the reader loaded the
 * table's address:
 *
 * - All stores to a table are done with release and all loads with acquire. So a reader that saw
 * one of the changes sees the count that went before it when it looks at the count again.
 * - A reader that saw that count at its first look saw also that the table had been replaced, so it
 *   got another one, or the same when it was filled and in place, with all that is in it.
 *
 * Either it saw no change, or the two counts differ and it looks again. That happens once in as
 * many new tags as are forgotten at a time, so nobody looks for long. A search ends in a table that
 * changes, too: there are never more names in it than half its slots, and it changes only once. */
#include "base/clears.h"

#include <stdlib.h>
#include <string.h>

#include <firn/error.h>

#include "base/hash.h"

enum { TABLE_MIN = 64 };

_Static_assert(FIRN_PREFIX_SIZE_MAX < 64, "a bit of `lengths` for each");

typedef struct slot {
    _Atomic uint64_t name; /* 0: empty. Written after the version; release, acquire */
    _Atomic uint64_t version;
    bool is_tag; /* the lock */
    uint32_t size;
} slot;

struct firn_clears_table {
    firn_clears_table *older; /* the lock */
    size_t mask;
    size_t used;
    slot slots[];
};

static size_t table_size(size_t mask) {
    return sizeof(firn_clears_table) + (mask + 1) * sizeof(slot);
}

int firn_clears_init(firn_clears *clears, firn_heap *heap) {
    memset(clears, 0, sizeof *clears);
    clears->heap = heap;
    return pthread_mutex_init(&clears->lock, NULL);
}

static void free_tables(firn_clears *clears, firn_clears_table *table) {
    while (table != NULL) {
        firn_clears_table *older = table->older;
        firn_heap_free(clears->heap, table, table_size(table->mask));
        table = older;
    }
}

void firn_clears_fini(firn_clears *clears) {
    free_tables(clears, clears->spare);
    free_tables(clears, clears->old);
    free_tables(clears, atomic_load_explicit(&clears->table, memory_order_relaxed));
    pthread_mutex_destroy(&clears->lock);
}

firn_clear_line firn_clears_of_prefix(const void *prefix, size_t size, uint64_t version) {
    return (firn_clear_line){
        .kind = size > 0 ? FIRN_CLEARS_PREFIX : FIRN_CLEARS_ALL,
        .size = (uint32_t)size,
        .name = size > 0 ? firn_hash64(size, prefix, size) : 0,
        .version = version,
    };
}

static uint64_t name_of(uint64_t name) {
    return name != 0 ? name : 1;
}

/* The slot of the name, or the empty one where it would be. */
static slot *find(const firn_clears_table *table, uint64_t name) {
    for (size_t at = (size_t)name & table->mask;; at = (at + 1) & table->mask) {
        slot *one = (slot *)(uintptr_t)&table->slots[at];
        uint64_t there = atomic_load_explicit(&one->name, memory_order_acquire);
        if (there == name || there == 0) {
            return one;
        }
    }
}

static uint64_t version_of_name(const firn_clears_table *table, uint64_t name) {
    const slot *one = find(table, name_of(name));
    return atomic_load_explicit(&one->name, memory_order_acquire) != 0
               ? atomic_load_explicit(&one->version, memory_order_acquire)
               : 0;
}

static bool names_void(const firn_clears *clears, const firn_clears_table *table, uint64_t version,
                       const void *key, size_t key_size, const firn_traits *traits) {
    uint64_t lengths = atomic_load_explicit(&clears->lengths, memory_order_acquire);
    while (lengths != 0) {
        size_t size = (size_t)__builtin_ctzll(lengths);
        lengths &= lengths - 1;
        if (size <= key_size && version_of_name(table, firn_hash64(size, key, size)) > version) {
            return true;
        }
    }
    for (uint32_t i = 0; i < traits->tag_count; i++) {
        uint64_t tag;
        memcpy(&tag, (const unsigned char *)traits->tags + i * sizeof tag, sizeof tag);
        if (version_of_name(table, tag) > version) {
            return true;
        }
    }
    return false;
}

bool firn_clears_look(const firn_clears *clears, uint64_t version, const void *key, size_t key_size,
                      const firn_traits *traits) {
    if (atomic_load_explicit(&clears->all, memory_order_acquire) > version) {
        return true;
    }
    if (key == NULL) {
        return false;
    }
    uint64_t reuses;
    bool found;
    do {
        reuses = atomic_load_explicit(&clears->reuses, memory_order_acquire);
        const firn_clears_table *table = atomic_load_explicit(&clears->table, memory_order_acquire);
        found = table != NULL && names_void(clears, table, version, key, key_size, traits);
        /* Relaxed: no load goes before those of the slots. */
    } while (atomic_load_explicit(&clears->reuses, memory_order_relaxed) != reuses);
    /* After the table: what is not in it any more is below a floor, or what everything was cleared
     * with, that was there before it. */
    return found || atomic_load_explicit(&clears->all, memory_order_acquire) > version ||
           (traits->tag_count > 0 &&
            atomic_load_explicit(&clears->floor, memory_order_acquire) > version);
}

/* The lock is held for all that follows. */

static void raise_to(_Atomic uint64_t *field, uint64_t version) {
    if (atomic_load_explicit(field, memory_order_relaxed) < version) {
        atomic_store_explicit(field, version, memory_order_release);
    }
}

static firn_clears_table *new_table(firn_clears *clears, size_t slots) {
    firn_clears_table *table = firn_heap_zalloc(clears->heap, table_size(slots - 1));
    if (table != NULL) {
        table->mask = slots - 1;
    }
    return table;
}

static void put(firn_clears_table *table, const slot *one) {
    uint64_t name = atomic_load_explicit(&one->name, memory_order_relaxed);
    slot *to = find(table, name);
    to->is_tag = one->is_tag;
    to->size = one->size;
    /* Release: a reader may be in the table since it was in use before. */
    atomic_store_explicit(&to->version, atomic_load_explicit(&one->version, memory_order_relaxed),
                          memory_order_release);
    atomic_store_explicit(&to->name, name, memory_order_release);
    table->used++;
}

static void keep_old(firn_clears *clears, firn_clears_table *table) {
    if (table != NULL) {
        table->older = clears->old;
        clears->old = table;
    }
}

/* A table that is empty, of the size of the present one. NULL: no memory. */
static firn_clears_table *take_spare(firn_clears *clears) {
    const firn_clears_table *table = atomic_load_explicit(&clears->table, memory_order_relaxed);
    firn_clears_table *spare = clears->spare;
    if (spare == NULL) {
        return new_table(clears, table->mask + 1);
    }
    clears->spare = NULL;
    uint64_t reuses = atomic_load_explicit(&clears->reuses, memory_order_relaxed);
    atomic_store_explicit(&clears->reuses, reuses + 1, memory_order_release);
    for (size_t i = 0; i <= spare->mask; i++) {
        atomic_store_explicit(&spare->slots[i].name, 0, memory_order_release);
    }
    spare->used = 0;
    return spare;
}

/* Takes the place of the present table, with the tags and prefixes of it that are at least of these
 * versions. */
static void take_over(firn_clears *clears, firn_clears_table *table, uint64_t tags_from,
                      uint64_t prefixes_from) {
    firn_clears_table *before = atomic_load_explicit(&clears->table, memory_order_relaxed);
    clears->tags = 0;
    clears->prefixes = 0;
    for (size_t i = 0; before != NULL && i <= before->mask; i++) {
        const slot *one = &before->slots[i];
        bool kept = atomic_load_explicit(&one->name, memory_order_relaxed) != 0 &&
                    atomic_load_explicit(&one->version, memory_order_relaxed) >=
                        (one->is_tag ? tags_from : prefixes_from);
        if (kept) {
            put(table, one);
            clears->tags += one->is_tag;
            clears->prefixes += !one->is_tag;
        }
    }
    atomic_store_explicit(&clears->table, table, memory_order_release);
    if (before != NULL && before->mask == table->mask) {
        clears->spare = before;
    } else {
        keep_old(clears, before);
        keep_old(clears, clears->spare);
        clears->spare = NULL;
    }
}

static int compare_versions(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

/* The older half of the tags is forgotten: whatever has a tag and is as old is void from now on.
 * The floor is there before the table that needs it. */
static int forget_tags(firn_clears *clears) {
    const firn_clears_table *table = atomic_load_explicit(&clears->table, memory_order_relaxed);
    size_t size = clears->tags * sizeof(uint64_t);
    uint64_t *versions = firn_heap_alloc(clears->heap, size);
    firn_clears_table *next = versions != NULL ? take_spare(clears) : NULL;
    if (next == NULL) {
        firn_heap_free(clears->heap, versions, size);
        return FIRN_ENOMEM;
    }
    size_t count = 0;
    for (size_t i = 0; i <= table->mask; i++) {
        const slot *one = &table->slots[i];
        if (one->is_tag && atomic_load_explicit(&one->name, memory_order_relaxed) != 0) {
            versions[count++] = atomic_load_explicit(&one->version, memory_order_relaxed);
        }
    }
    qsort(versions, count, sizeof *versions, compare_versions);
    raise_to(&clears->floor, versions[count / 2]);
    take_over(clears, next, versions[count / 2] + 1, 0);
    firn_heap_free(clears->heap, versions, size);
    return FIRN_OK;
}

/* There are as many prefixes as may be: those that everything was cleared after say nothing more,
 * and go. `all` was there before the table that needs it. */
static int forget_void(firn_clears *clears) {
    const firn_clears_table *table = atomic_load_explicit(&clears->table, memory_order_relaxed);
    uint64_t all = atomic_load_explicit(&clears->all, memory_order_relaxed);
    bool some = false;
    for (size_t i = 0; i <= table->mask && !some; i++) {
        const slot *one = &table->slots[i];
        some = atomic_load_explicit(&one->name, memory_order_relaxed) != 0 && !one->is_tag &&
               atomic_load_explicit(&one->version, memory_order_relaxed) <= all;
    }
    if (!some) {
        return FIRN_ENOSPC;
    }
    firn_clears_table *next = take_spare(clears);
    if (next == NULL) {
        return FIRN_ENOMEM;
    }
    take_over(clears, next, all + 1, all + 1);
    return FIRN_OK;
}

/* Sees to it that there is room for one name more. */
static int make_room(firn_clears *clears) {
    if (clears->tags >= FIRN_CLEARS_TAGS_MAX) {
        int result = forget_tags(clears);
        if (result != FIRN_OK) {
            return result;
        }
    }
    const firn_clears_table *table = atomic_load_explicit(&clears->table, memory_order_relaxed);
    size_t slots = table != NULL ? table->mask + 1 : 0;
    if (table != NULL && table->used < slots / 2) {
        return FIRN_OK;
    }
    firn_clears_table *grown = new_table(clears, slots > 0 ? slots * 2 : TABLE_MIN);
    if (grown == NULL) {
        return FIRN_ENOMEM;
    }
    take_over(clears, grown, 0, 0);
    return FIRN_OK;
}

/* The slot of a line's name. NULL: it has none yet. */
static slot *slot_of(const firn_clears *clears, const firn_clear_line *line) {
    const firn_clears_table *table = atomic_load_explicit(&clears->table, memory_order_relaxed);
    slot *one = table != NULL ? find(table, name_of(line->name)) : NULL;
    return one != NULL && atomic_load_explicit(&one->name, memory_order_relaxed) != 0 ? one : NULL;
}

/* Sees to it that the line can be added. */
static int prepare(firn_clears *clears, const firn_clear_line *line) {
    if (line->kind == FIRN_CLEARS_ALL || line->kind == FIRN_CLEARS_FLOOR ||
        slot_of(clears, line) != NULL) {
        return FIRN_OK;
    }
    bool is_tag = line->kind == FIRN_CLEARS_TAG;
    if (!is_tag && clears->prefixes >= FIRN_CLEARS_PREFIXES_MAX) {
        int result = forget_void(clears);
        if (result != FIRN_OK) {
            return result;
        }
    }
    return make_room(clears);
}

static int add_name(firn_clears *clears, const firn_clear_line *line) {
    slot *one = slot_of(clears, line);
    if (one != NULL) {
        raise_to(&one->version, line->version);
        return FIRN_OK;
    }
    int result = prepare(clears, line);
    if (result != FIRN_OK) {
        return result;
    }
    bool is_tag = line->kind == FIRN_CLEARS_TAG;
    slot made = {.is_tag = is_tag, .size = line->size};
    atomic_init(&made.name, name_of(line->name));
    atomic_init(&made.version, line->version);
    put(atomic_load_explicit(&clears->table, memory_order_relaxed), &made);
    clears->tags += is_tag;
    clears->prefixes += !is_tag;
    return FIRN_OK;
}

int firn_clears_prepare(firn_clears *clears, const firn_clear_line *line) {
    pthread_mutex_lock(&clears->lock);
    int result = prepare(clears, line);
    pthread_mutex_unlock(&clears->lock);
    return result;
}

int firn_clears_add(firn_clears *clears, const firn_clear_line *line) {
    int result = FIRN_OK;
    pthread_mutex_lock(&clears->lock);
    if (line->kind == FIRN_CLEARS_ALL) {
        raise_to(&clears->all, line->version);
    } else if (line->kind == FIRN_CLEARS_FLOOR) {
        raise_to(&clears->floor, line->version);
    } else {
        result = add_name(clears, line);
    }
    if (result == FIRN_OK && line->kind == FIRN_CLEARS_PREFIX) {
        uint64_t lengths = atomic_load_explicit(&clears->lengths, memory_order_relaxed);
        atomic_store_explicit(&clears->lengths, lengths | UINT64_C(1) << line->size,
                              memory_order_release);
    }
    if (result == FIRN_OK) {
        raise_to(&clears->latest, line->version);
    }
    pthread_mutex_unlock(&clears->lock);
    return result;
}

int firn_clears_each(firn_clears *clears, int (*each)(void *context, const firn_clear_line *line),
                     void *context) {
    pthread_mutex_lock(&clears->lock);
    uint64_t all = atomic_load_explicit(&clears->all, memory_order_relaxed);
    uint64_t floor = atomic_load_explicit(&clears->floor, memory_order_relaxed);
    const firn_clears_table *table = atomic_load_explicit(&clears->table, memory_order_relaxed);
    int result = 0;
    if (all > 0) {
        result = each(context, &(firn_clear_line){.kind = FIRN_CLEARS_ALL, .version = all});
    }
    if (result == 0 && floor > all) {
        result = each(context, &(firn_clear_line){.kind = FIRN_CLEARS_FLOOR, .version = floor});
    }
    for (size_t i = 0; result == 0 && table != NULL && i <= table->mask; i++) {
        const slot *one = &table->slots[i];
        firn_clear_line line = {
            .kind = one->is_tag ? FIRN_CLEARS_TAG : FIRN_CLEARS_PREFIX,
            .size = one->size,
            .name = atomic_load_explicit(&one->name, memory_order_relaxed),
            .version = atomic_load_explicit(&one->version, memory_order_relaxed),
        };
        /* What everything was cleared after says nothing more. */
        result = line.name != 0 && line.version > all ? each(context, &line) : 0;
    }
    pthread_mutex_unlock(&clears->lock);
    return result;
}
