/* Explains one entry: what both tiers know of it, and what was decided. Changes nothing of it, nor
 * of what is counted. */
#include <endian.h>
#include <string.h>

#include <firn/explain.h>

#include "base/sized.h"
#include "tier/cache.h"

_Static_assert((int)FIRN_EXPLAIN_DECISIONS == (int)FIRN_DECISION_WAYS, "all that are remembered");

static const char *const place_names[] = {"nowhere", "hot", "leaving", "cold"};

const char *firn_place_name(unsigned place) {
    return place < sizeof place_names / sizeof place_names[0] ? place_names[place] : "unknown";
}

static void take_traits(firn_explanation *full, const firn_traits *traits, uint64_t now_ms) {
    full->expires_ms = traits->expires_ms;
    full->idle_ms = traits->idle_ms;
    full->cost_us = traits->cost_us;
    full->tag_count = traits->tag_count;
    full->negative = traits->negative;
    full->expired = traits->expires_ms != 0 && traits->expires_ms <= now_ms;
    full->stale = full->expired == 0 && !traits->negative && firn_traits_limited(traits) &&
                  firn_traits_unserved(traits, now_ms);
}

/* What is in memory under the key, if anything is. */
static void take_object(firn_cache *cache, firn_explanation *full, firn_object *object) {
    firn_traits traits = firn_object_get_traits(object);
    take_traits(full, &traits, firn_now_ms(cache));
    full->version = firn_object_version(object);
    full->value_size = firn_object_size(object);
    full->owned = firn_object_is_owned(object);
    full->interned = firn_object_body_of(object) != NULL;
    full->charge = firn_object_charge(object);
    full->group = firn_object_group(object);
    const firn_type *type = firn_object_type(object);
    full->type = type != NULL ? type->name : NULL;
    firn_links *links = firn_object_is_rich(object) ? firn_object_get_links(object) : NULL;
    full->link_count = links != NULL ? links->count : 0;
    firn_links_unref(links, cache->heap);
}

static void look_in_memory(firn_cache *cache, firn_explanation *full, const void *key,
                           size_t key_size) {
    firn_hot_shard *shard = firn_hot_lock(cache->hot, full->hash);
    firn_object *object = firn_hot_find_locked(shard, full->hash, key, key_size);
    unsigned state = object != NULL ? firn_object_state(object) : 0;
    if (object != NULL) {
        firn_object_keep(object);
        full->handles = firn_hot_references_locked(shard, object) - 1;
        full->handles -= full->handles > 0 && (state & FIRN_QUEUED) != 0;
        firn_hot_hits_locked(shard, object, &full->mark, &full->mark_max, &full->hit_lately);
    }
    firn_hot_unlock(shard);
    if (object == NULL) {
        return;
    }
    full->queued = (state & FIRN_QUEUED) != 0;
    if ((state & FIRN_TOMBSTONE) != 0 || firn_is_cleared(cache, object)) {
        full->deleted = 1;
        full->handles = full->mark = full->mark_max = full->hit_lately = 0;
    } else {
        full->place = (state & FIRN_RESIDENT) != 0 ? FIRN_PLACE_HOT : FIRN_PLACE_LEAVING;
        full->dirty = cache->cold != NULL && (state & FIRN_STORED) == 0;
        full->pinned = (state & FIRN_PINNED) != 0;
        take_object(cache, full, object);
    }
    firn_object_unref(object);
}

/* What a visit of the record finds. */
typedef struct visit {
    firn_cache *cache;
    firn_explanation *full;
    const void *key;
    size_t key_size;
    bool found;
    unsigned char head[FIRN_STREAM_HEAD_SIZE]; /* of a stream */
} visit;

/* A firn_cold_place, which wants no value but that of a head. */
static void *look_at_record(void *context, const firn_cold_meta *meta) {
    visit *self = context;
    firn_explanation *full = self->full;
    if (meta->key_size != self->key_size || memcmp(meta->key, self->key, self->key_size) != 0) {
        return NULL; /* another key of the same hash */
    }
    self->found = true;
    bool is_head = meta->part == FIRN_PART_HEAD && meta->value_size == sizeof self->head;
    full->stored = 1;
    full->stored_version = meta->version;
    full->stored_size = is_head ? 0 : meta->stored_size;
    full->written_ms = meta->written_ms;
    full->sequence = meta->sequence;
    full->dictionary = meta->dictionary;
    full->codec = is_head ? "stream" : firn_cold_codec_name(meta->codec);
    full->hit_below = firn_cold_was_hit(self->cache->cold, full->hash);
    const firn_attributes *attributes = &meta->attributes;
    full->type_id = attributes->type;
    if (full->place == FIRN_PLACE_NOWHERE && full->deleted == 0) {
        full->place = FIRN_PLACE_COLD;
        full->version = meta->version;
        full->value_size = attributes->interned ? attributes->interned_size : meta->value_size;
        full->owned = attributes->owned;
        full->interned = attributes->interned;
        size_t links = attributes->links_size > 0
                           ? firn_links_count(attributes->links, attributes->links_size)
                           : 0;
        full->link_count = links != SIZE_MAX ? links : 0;
        take_traits(full, &attributes->traits, firn_now_ms(self->cache));
    }
    return is_head ? self->head : NULL;
}

static int look_below(firn_cache *cache, firn_explanation *full, const void *key, size_t key_size) {
    visit self = {.cache = cache, .full = full, .key = key, .key_size = key_size};
    int result = firn_cold_visit(cache->cold, full->hash, look_at_record, &self);
    if (result == FIRN_OK && self.found && full->place == FIRN_PLACE_COLD) {
        uint64_t size; /* of the whole value: see cold/record.h */
        memcpy(&size, self.head, sizeof size);
        full->value_size = le64toh(size);
    }
    /* A record whose value is not wanted ends the visit as if there were no memory for it. */
    return result == FIRN_ECORRUPT || result == FIRN_EIO || (result == FIRN_ENOMEM && !self.found)
               ? result
               : FIRN_OK;
}

static void look_at_decisions(firn_cache *cache, firn_explanation *full) {
    full->decision_count = firn_decisions_of(cache->deciding.last, full->hash, full->decisions);
    for (size_t i = full->decision_count; i-- > 0 && full->charge != 0;) {
        const firn_decision *decision = &full->decisions[i];
        if (decision->kind == FIRN_DECISION_PROMOTE && decision->version == full->version) {
            full->came_up_ms = decision->time_ms;
            break;
        }
    }
}

int firn_explain(firn_cache *cache, const void *key, size_t key_size,
                 firn_explanation *explanation) {
    if (cache == NULL || firn_is_unsized(explanation)) {
        return FIRN_EINVAL;
    }
    int result = firn_check_key(cache, key, key_size);
    if (result != FIRN_OK) {
        return result;
    }
    firn_explanation full = {.hash = firn_hash64(cache->seed, key, key_size)};
    look_in_memory(cache, &full, key, key_size);
    if (cache->cold != NULL) {
        result = look_below(cache, &full, key, key_size);
    }
    look_at_decisions(cache, &full);
    firn_give_sized(explanation, &full, sizeof full);
    return result;
}
