/* See table.h. */
#include "hot/table.h"

enum { CAPACITY_MIN = 16 };

static size_t bytes_of(size_t capacity) {
    return capacity * sizeof(firn_table_slot);
}

int firn_table_init(firn_table *table, firn_heap *heap) {
    table->slots = firn_heap_zalloc(heap, bytes_of(CAPACITY_MIN));
    table->mask = CAPACITY_MIN - 1;
    table->count = 0;
    return table->slots != NULL ? FIRN_OK : FIRN_ENOMEM;
}

void firn_table_fini(firn_table *table, firn_heap *heap) {
    firn_heap_free(heap, table->slots, bytes_of(table->mask + 1));
    table->slots = NULL;
}

size_t firn_table_bytes(const firn_table *table) {
    return bytes_of(table->mask + 1);
}

static size_t empty_slot(const firn_table *table, uint64_t hash) {
    size_t place = hash & table->mask;
    while (table->slots[place].object != NULL) {
        place = (place + 1) & table->mask;
    }
    return place;
}

static size_t slot_of(const firn_table *table, const firn_object *object) {
    size_t place = object->hash & table->mask;
    while (table->slots[place].object != object) {
        place = (place + 1) & table->mask;
    }
    return place;
}

int firn_table_reserve(firn_table *table, firn_heap *heap) {
    size_t capacity = table->mask + 1;
    if (table->count + 1 <= capacity / 4 * 3) {
        return FIRN_OK;
    }
    firn_table grown = {
        .slots = firn_heap_zalloc(heap, bytes_of(capacity * 2)),
        .mask = capacity * 2 - 1,
        .count = table->count,
    };
    if (grown.slots == NULL) {
        /* A fuller table is slower, but still right as long as one slot stays empty. */
        return table->count + 1 <= capacity / 8 * 7 ? FIRN_OK : FIRN_ENOMEM;
    }
    for (size_t i = 0; i < capacity; i++) {
        if (table->slots[i].object != NULL) {
            grown.slots[empty_slot(&grown, table->slots[i].hash)] = table->slots[i];
        }
    }
    firn_table_fini(table, heap);
    *table = grown;
    return FIRN_OK;
}

void firn_table_insert(firn_table *table, firn_object *object) {
    table->slots[empty_slot(table, object->hash)] = (firn_table_slot){object->hash, object};
    table->count++;
}

void firn_table_replace(firn_table *table, const firn_object *old, firn_object *object) {
    table->slots[slot_of(table, old)].object = object;
}

void firn_table_remove(firn_table *table, const firn_object *object) {
    size_t hole = slot_of(table, object);
    size_t place = hole;
    for (;;) {
        place = (place + 1) & table->mask;
        if (table->slots[place].object == NULL) {
            break;
        }
        /* An entry may move back to the hole unless its home lies behind the hole. */
        size_t home = table->slots[place].hash & table->mask;
        if (((place - home) & table->mask) >= ((place - hole) & table->mask)) {
            table->slots[hole] = table->slots[place];
            hole = place;
        }
    }
    table->slots[hole].object = NULL;
    table->count--;
}

firn_object *firn_table_find(const firn_table *table, uint64_t hash, const void *key,
                             size_t key_size) {
    for (size_t place = hash & table->mask;; place = (place + 1) & table->mask) {
        const firn_table_slot *slot = &table->slots[place];
        if (slot->object == NULL) {
            return NULL;
        }
        if (slot->hash == hash && firn_object_has_key(slot->object, hash, key, key_size)) {
            return slot->object;
        }
    }
}

firn_object *firn_table_find_hash(const firn_table *table, uint64_t hash, uint64_t version) {
    for (size_t place = hash & table->mask;; place = (place + 1) & table->mask) {
        const firn_table_slot *slot = &table->slots[place];
        if (slot->object == NULL) {
            return NULL;
        }
        if (slot->hash == hash && (version == 0 || slot->object->version == version)) {
            return slot->object;
        }
    }
}
