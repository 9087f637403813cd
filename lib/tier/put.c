/* Changing entries: firn_put, firn_delete, and the atomic ones, which are puts on a condition. */
#include <string.h>

#include "tier/cache.h"

enum {
    ATTEMPTS = 100,         /* at a put whose links others change meanwhile */
    CHANGES_A_SAMPLE = 64,  /* of puts and of deletes: see firn/metrics.h */
    TOUCH_ATTEMPTS = 10000, /* at an entry that others change meanwhile */
};

/* Where a new value goes. */
enum destination { TO_RESIDENTS, TO_QUEUE, TO_COLD_TIER, TO_NOWHERE };

/* What has to be so for a put to be done. */
enum condition { ALWAYS, IF_ABSENT, IF_PRESENT, IF_VERSION };

/* A put on its way. */
typedef struct change {
    const void *key;
    size_t key_size;
    uint64_t hash;
    const void *value;
    size_t value_size;
    firn_traits traits;         /* the tags are lent */
    const firn_type *type;      /* NULL: bytes */
    const firn_link_plan *plan; /* NULL: no links, and not owned */
    firn_object *body;          /* NULL: the value is not interned */
    bool is_body;               /* it is to hold a value for others */
    bool same_value;            /* as the entry has already, whatever else changes */
    bool takes_stale;  /* for the condition, an entry that plain reads do not get is there */
    bool quiet;        /* a deletion that is not the program's */
    uint64_t began_ns; /* 0: it is not timed */
    enum condition condition;
    firn_flight *flight; /* NULL, or the load that made it, which counts only if the entry was not
                            changed since that began */
    uint64_t expected;   /* IF_VERSION */
    uint64_t version;    /* out: what the entry got; not 0: the table has it, whatever came then */
    bool links_changed;  /* out, with FIRN_CONFLICT: what the plan says of targets is out of date */
} change;

/* What the cold tier said of a key that is not in the table. It holds for as long as the key's
 * counter of removals stands at the same number. */
typedef struct below {
    bool asked;
    uint32_t removals;
    int result; /* FIRN_OK: there is an entry; FIRN_NOT_FOUND; or an error */
    uint64_t version;
} below;

/* charge: of the put as an object. */
static enum destination destination_of(const firn_cache *cache, const change *put,
                                       uint64_t charge) {
    bool has_cold = cache->cold != NULL;
    /* How many bytes a typed value will be encoded to is not known yet. */
    if (has_cold && put->type == NULL &&
        put->value_size > firn_cold_value_max(cache->cold, put->key_size)) {
        if (cache->options.write_mode == FIRN_WRITE_THROUGH) {
            return TO_NOWHERE; /* to keep it in memory alone would break the promise */
        }
        has_cold = false;
    }
    if (charge <= firn_resident_max(cache)) {
        return TO_RESIDENTS;
    }
    if (!has_cold) {
        return TO_NOWHERE;
    }
    if (charge <= firn_held_max(cache) - firn_resident_max(cache)) {
        return TO_QUEUE;
    }
    return put->type == NULL ? TO_COLD_TIER : TO_NOWHERE;
}

static enum destination destination_of_bytes(const firn_cache *cache, const change *put) {
    return destination_of(
        cache, put,
        firn_object_charge_for(cache->pool, put->key_size, put->value_size, &put->traits));
}

static int refuse(firn_cache *cache, size_t value_size) {
    uint64_t cold_max = cache->cold != NULL ? cache->options.cold_bytes : 0;
    return firn_detail_set(
        &cache->detail, FIRN_ETOOLARGE,
        "a value of %zu bytes fits into neither tier (hot_bytes %llu, cold_bytes %llu): raise a "
        "budget or put it in parts",
        value_size,
        (unsigned long long)atomic_load_explicit(&cache->hot_bytes, memory_order_relaxed),
        (unsigned long long)cold_max);
}

static bool writes_at_put(const firn_cache *cache) {
    return cache->cold != NULL && cache->options.write_mode != FIRN_WRITE_ON_EVICTION;
}

static void ask_below(firn_cache *cache, const change *put, below *known) {
    firn_cold_meta meta = {.version = 0};
    known->result = firn_look_below(cache, put->hash, put->key, put->key_size, &meta);
    if (known->result == FIRN_ECORRUPT) {
        known->result = FIRN_NOT_FOUND;
    }
    known->version = meta.version;
    known->asked = true;
}

/* Whether the change may be made. old: what the table holds. FIRN_OK, FIRN_NOT_FOUND, FIRN_EXISTS,
 * FIRN_CONFLICT or an error of the cold tier; FIRN_AGAIN: it has to be asked, with no lock held. */
static int check_condition_locked(firn_cache *cache, const change *put, const firn_object *old,
                                  below *known) {
    if (put->flight != NULL && firn_flight_is_changed(put->flight)) {
        return FIRN_CONFLICT;
    }
    if (put->condition == ALWAYS) {
        return FIRN_OK;
    }
    uint64_t version = 0;
    int there = FIRN_NOT_FOUND;
    if (old != NULL) {
        bool absent = put->takes_stale ? (firn_object_state(old) & FIRN_TOMBSTONE) != 0 ||
                                             firn_is_expired(cache, old)
                                       : firn_is_absent(cache, old);
        if (!absent) {
            there = FIRN_OK;
            version = firn_object_version(old);
        }
    } else if (cache->cold != NULL) {
        uint32_t removals = firn_removals_look(cache, put->hash);
        if (!known->asked || known->removals != removals) {
            known->removals = removals;
            return FIRN_AGAIN;
        }
        there = known->result;
        version = known->version;
    }
    if (put->condition == IF_ABSENT) {
        return there == FIRN_OK ? FIRN_EXISTS : there == FIRN_NOT_FOUND ? FIRN_OK : there;
    }
    if (there == FIRN_OK && put->condition == IF_VERSION && version != put->expected) {
        return FIRN_CONFLICT;
    }
    return there;
}

/* Bytes that the object needs beyond what it frees. */
static uint64_t bytes_to_find(const firn_object *object, const firn_object *old) {
    uint64_t charge = firn_object_charge(object);
    uint64_t freed = 0;
    if (old != NULL && (firn_object_state(old) & FIRN_RESIDENT) != 0) {
        freed = firn_object_charge(old);
    }
    return charge > freed ? charge - freed : 0;
}

/* Where a newcomer goes. */
typedef struct fate {
    enum destination to; /* TO_RESIDENTS, TO_QUEUE or TO_NOWHERE */
    bool unadmitted;     /* the admission policy did not want it in memory */
    bool asked;          /* and the demotion policy was asked whether it goes below */
} fate;

static bool may_go_below(const firn_cache *cache, const change *put) {
    if (cache->cold == NULL) {
        return false;
    }
    return put->type != NULL ? put->type->encode != NULL
                             : put->value_size <= firn_cold_value_max(cache->cold, put->key_size);
}

/* Asks the policies about one that is to be resident. Only what is surely new is asked about: what
 * takes the place of an entry has its place, and what is put on a condition is put. And what others
 * keep, or keeps others, must not be lost by a policy. */
static fate admitted_locked(firn_cache *cache, firn_hot_shard *shard, const change *put,
                            const firn_object *object, bool is_new) {
    fate here = {.to = TO_RESIDENTS};
    if (!is_new || put->condition != ALWAYS || put->plan != NULL ||
        !firn_asks(&cache->moving, FIRN_ADMISSION) || firn_links_keep(cache, put->hash) ||
        firn_admits_locked(cache, shard, put->hash, object)) {
        return here;
    }
    here.unadmitted = true;
    here.to = may_go_below(cache, put) ? TO_QUEUE : TO_NOWHERE;
    if (here.to == TO_QUEUE && !writes_at_put(cache) && firn_asks(&cache->moving, FIRN_DEMOTION)) {
        here.asked = true;
        here.to = firn_demotes_locked(cache, shard, put->hash, object) ? TO_QUEUE : TO_NOWHERE;
    }
    return here;
}

/* A newcomer that was not admitted. */
static void settle_unadmitted_locked(firn_cache *cache, firn_hot_shard *shard, const change *put,
                                     firn_object *object, const fate *here) {
    firn_count(cache->counters, FIRN_EVENT_ADMISSION_REFUSED, 1);
    firn_decide_of(cache, put->hash, object, FIRN_DECISION_REFUSE, FIRN_REASON_POLICY,
                   firn_object_charge(object));
    if (here->to == TO_NOWHERE) {
        firn_count(cache->counters,
                   here->asked ? FIRN_EVENT_DEMOTION_REFUSED : FIRN_EVENT_DROPPED_MEMORY_ONLY, 1);
        firn_decide_of(cache, put->hash, object, FIRN_DECISION_DROP, FIRN_REASON_POLICY,
                       put->value_size);
        firn_links_lose_locked(cache, put->hash, put->version);
        if (firn_object_is_rich(object)) {
            firn_domain_add_holder(object); /* it may be part of a circle all the same */
        }
    } else if (here->asked) {
        firn_hot_change_locked(shard, object, 0, FIRN_ASKED);
    }
}

/* With the shard locked: makes room and indexes the object. FIRN_OK; FIRN_EBUSY: the journal is
 * full; FIRN_AGAIN: see check_condition_locked; FIRN_ENOMEM or what stands against the change. */
static int publish_locked(firn_cache *cache, firn_hot_shard *shard, change *put,
                          firn_object *object, bool resident, below *known, firn_victims *victims,
                          uint64_t *ticket) {
    firn_object *old = firn_hot_find_locked(shard, put->hash, put->key, put->key_size);
    int result = check_condition_locked(cache, put, old, known);
    if (result != FIRN_OK) {
        return result;
    }
    bool alone = firn_is_alone_locked(cache, old, put->hash);
    fate where = {.to = TO_QUEUE};
    if (resident) {
        where = admitted_locked(cache, shard, put, object, old == NULL && alone);
        resident = where.to == TO_RESIDENTS;
    }
    if (resident) {
        uint64_t needed = bytes_to_find(object, old);
        if (firn_evict_locked(cache, shard, needed, victims) && old != NULL) {
            /* It may have been the very one that was overwritten. */
            old = firn_hot_find_locked(shard, put->hash, put->key, put->key_size);
            alone = firn_is_alone_locked(cache, old, put->hash);
        }
    }
    result = old == NULL ? firn_hot_reserve_locked(shard, put->hash) : FIRN_OK;
    if (result != FIRN_OK) {
        return result;
    }
    bool queued = where.to == TO_QUEUE || (resident && writes_at_put(cache));
    if (queued && firn_queue_reserve(&cache->queue) != FIRN_OK) {
        return FIRN_ENOMEM;
    }
    /* Acquire: see firn_flights_clear_begin. */
    uint64_t version = atomic_fetch_add_explicit(&cache->version, 1, memory_order_acquire);
    bool cleared = put->flight != NULL &&
                   firn_load_is_cleared(cache, put->flight, put->key, put->key_size, &put->traits);
    result = cleared
                 ? FIRN_CONFLICT
                 : firn_links_put_locked(cache, put->hash, version, put->plan, !put->same_value);
    put->links_changed = result == FIRN_CONFLICT && !cleared;
    if (result == FIRN_OK) {
        result = firn_void_below_locked(cache, old, alone, put->hash, version);
        if (result != FIRN_OK && result != FIRN_EBUSY) {
            firn_links_forsake(cache, put->hash);
        }
    }
    if (result != FIRN_OK) {
        if (queued) {
            firn_queue_release(&cache->queue);
        }
        return result;
    }
    put->version = version;
    firn_object_set_version(object, version);
    if (where.to != TO_NOWHERE) {
        firn_hot_insert_locked(shard, put->hash, object, old,
                               (resident ? FIRN_RESIDENT : 0) | (alone ? FIRN_ALONE : 0));
    }
    if (!put->same_value) {
        firn_links_change_locked(cache, put->hash);
        firn_flights_change_locked(&cache->flights, put->hash, put->flight);
    }
    if ((firn_object_state(object) & FIRN_PINNED) != 0) {
        firn_graph_pin(cache->linking.graph, put->hash, true);
    }
    if (queued) {
        *ticket = firn_enqueue_locked(cache, shard, object);
    }
    if (cache->deciding.listens && where.to != TO_NOWHERE) {
        firn_decide_of(cache, put->hash, object, FIRN_DECISION_INSERT, FIRN_REASON_PROGRAM,
                       put->value_size);
    }
    if (where.unadmitted) {
        settle_unadmitted_locked(cache, shard, put, object, &where);
    }
    if (old != NULL) {
        firn_victims_add(victims, old);
    }
    return FIRN_OK;
}

/* Indexes the object in place of what is there. *ticket: of the queue, if it went there. */
static int publish(firn_cache *cache, change *put, firn_object *object, bool resident,
                   uint64_t *ticket) {
    below known = {.asked = false};
    for (;;) {
        firn_victims victims; /* all of it is not worth clearing */
        victims.count = 0;
        firn_hot_shard *shard = firn_hot_lock(cache->hot, put->hash);
        int result = publish_locked(cache, shard, put, object, resident, &known, &victims, ticket);
        firn_hot_unlock(shard);
        firn_victims_release(&victims);
        if (result == FIRN_AGAIN) {
            ask_below(cache, put, &known);
        } else if (result == FIRN_EBUSY) {
            int relieved = firn_relieve_journal(cache);
            if (relieved != FIRN_OK) {
                firn_links_forsake(cache, put->hash);
                return relieved;
            }
        } else {
            return result;
        }
    }
}

static int put_in_memory(firn_cache *cache, change *put, firn_object *object, bool resident) {
    uint64_t charge = firn_object_charge(object);
    int result = firn_make_room(cache, charge);
    bool is_sure = resident && !firn_asks(&cache->moving, FIRN_ADMISSION);
    if (result == FIRN_OK && is_sure && charge >= FIRN_LARGE_CHARGE) {
        firn_make_resident_room(cache, charge);
    }
    if (result != FIRN_OK) {
        return result;
    }
    uint64_t ticket = 0;
    result = publish(cache, put, object, resident, &ticket);
    if (result == FIRN_OK) {
        firn_make_resident_room(cache, 0); /* what the shard itself could not give */
        firn_expiry_note(cache, put->traits.expires_ms);
    }
    if (result == FIRN_OK && cache->options.write_mode == FIRN_WRITE_THROUGH && ticket > 0) {
        result = firn_write_until(cache, ticket);
    }
    return result;
}

static int no_memory_for(firn_cache *cache, size_t value_size) {
    return firn_detail_set(&cache->detail, FIRN_ENOMEM, "no memory for an object of %zu bytes",
                           value_size);
}

static int put_copy(firn_cache *cache, change *put, bool resident) {
    firn_object *object =
        firn_object_make(cache->pool, put->key, put->key_size, put->value_size, &put->traits);
    if (object == NULL) {
        return no_memory_for(cache, put->value_size);
    }
    firn_hot_prefetch_object(cache->hot, put->hash);
    if (put->value_size > 0) {
        memcpy(firn_object_body(object), put->value, put->value_size);
    }
    int result = put_in_memory(cache, put, object, resident);
    firn_object_unref(object);
    return result;
}

/* Past memory, for a value larger than it. A condition is looked at before, and holds no longer
 * than that. */
static int put_below(firn_cache *cache, change *put) {
    if (put->condition != ALWAYS) {
        below known = {.asked = false};
        int result;
        do {
            firn_hot_shard *shard = firn_hot_lock(cache->hot, put->hash);
            const firn_object *old =
                firn_hot_find_locked(shard, put->hash, put->key, put->key_size);
            result = check_condition_locked(cache, put, old, &known);
            firn_hot_unlock(shard);
            if (result == FIRN_AGAIN) {
                ask_below(cache, put, &known);
            }
        } while (result == FIRN_AGAIN);
        if (result != FIRN_OK) {
            return result;
        }
    }
    firn_object *placeholder = firn_object_make(cache->pool, put->key, put->key_size, 0, NULL);
    if (placeholder == NULL) {
        return FIRN_ENOMEM;
    }
    firn_direct direct = {.placeholder = placeholder,
                          .hash = put->hash,
                          .value = put->value,
                          .value_size = put->value_size,
                          .traits = put->traits,
                          .part = FIRN_PART_WHOLE,
                          .plan = put->plan,
                          .same_value = put->same_value,
                          .flight = put->flight};
    int result = firn_write_direct(cache, &direct);
    put->version = firn_object_version(placeholder);
    firn_object_unref(placeholder);
    return result;
}

int firn_check_writable(firn_cache *cache) {
    if (atomic_load_explicit(&cache->closing, memory_order_relaxed)) {
        return firn_detail_set(&cache->detail, FIRN_EREADONLY, "the cache is being closed");
    }
    if (!cache->options.read_only) {
        return FIRN_OK;
    }
    return firn_detail_set(&cache->detail, FIRN_EREADONLY,
                           "%s was opened read-only: entries cannot be changed",
                           firn_cold_path(cache->cold));
}

static int sync_if_asked(firn_cache *cache) {
    if (cache->cold == NULL || cache->options.durability != FIRN_DURABILITY_COMMIT) {
        return FIRN_OK;
    }
    return firn_cold_sync_journal(cache->cold);
}

static uint64_t sooner(uint64_t a, uint64_t b) {
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* The entry ends when something it depends on does, at the latest. */
static void end_by(firn_traits *traits, uint64_t expires_ms) {
    traits->expires_ms = sooner(traits->expires_ms, expires_ms);
    traits->limit_ms = sooner(traits->limit_ms, expires_ms);
}

/* When a change begins that is to be timed; else 0. One that waits for the disk is always. */
static uint64_t begin_timed(firn_cache *cache, firn_sampler *sampler) {
    bool waits = cache->cold != NULL && (cache->options.write_mode == FIRN_WRITE_THROUGH ||
                                         cache->options.durability == FIRN_DURABILITY_COMMIT);
    return waits || firn_sample_taken(sampler) ? firn_monotonic_ns() : 0;
}

static void end_timed(firn_cache *cache, unsigned kind, const change *put) {
    if (put->began_ns != 0) {
        firn_time(cache, kind, put->began_ns);
    }
}

/* The put is done, or not; what depended on the old value goes. Whoever gave a value of a type must
 * know from the result whose it is, so of those no error is told that came after. */
static int finish_put(firn_cache *cache, const change *put, int result) {
    int settled = firn_links_settle(cache);
    if (result == FIRN_OK) {
        firn_count_sampled(cache->counters, FIRN_EVENT_PUT, &cache->timing.puts, CHANGES_A_SAMPLE);
        firn_note_put(cache, put->hash, put->key_size, put->value_size, &put->traits);
        firn_count_group(cache, firn_group_of_key(cache, put->key, put->key_size), FIRN_EVENT_PUT);
        result = sync_if_asked(cache);
        end_timed(cache, FIRN_LATENCY_PUT, put);
    }
    firn_tell(cache);
    return result == FIRN_OK && put->type == NULL ? settled : result;
}

/* Puts an object that was made for it, and that nobody else knows. What its value holds is the
 * object's from the moment that the table has it, and else stays its maker's. */
static int put_made(firn_cache *cache, change *put, firn_object *object) {
    bool rich = firn_object_is_rich(object);
    if (rich) {
        firn_object_enliven(object);
    }
    enum destination to = destination_of(cache, put, firn_object_charge(object));
    int result = to == TO_NOWHERE     ? refuse(cache, put->value_size)
                 : to == TO_COLD_TIER ? put_below(cache, put)
                                      : put_in_memory(cache, put, object, to == TO_RESIDENTS);
    if (rich && put->version == 0) {
        firn_object_disown(object);
    }
    return result;
}

/* The object gets the plan's links. */
static void set_links(firn_object *object, const firn_link_plan *plan) {
    firn_object_set_links(object, plan->block != NULL ? firn_links_ref(plan->block) : NULL);
}

/* The object of a value with a type, links or a body; NULL: no memory. */
static firn_object *make_rich(firn_cache *cache, const change *put) {
    size_t value_size = put->body != NULL ? 0 : put->value_size;
    firn_object *object = firn_object_make_rich(cache->pool, put->key, put->key_size, value_size,
                                                &put->traits, put->type);
    if (object == NULL) {
        no_memory_for(cache, value_size);
        return NULL;
    }
    firn_object_rich_of(object)->is_body = put->is_body;
    if (put->plan != NULL) {
        set_links(object, put->plan);
        firn_object_rich_of(object)->owned = put->plan->owned;
    }
    if (put->body != NULL) {
        firn_object_set_body(object, put->body);
    } else if (put->value_size > 0) {
        memcpy(firn_object_body(object), put->value, put->value_size);
    }
    return object;
}

static int put_rich(firn_cache *cache, change *put) {
    firn_object *object = make_rich(cache, put);
    if (object == NULL) {
        return FIRN_ENOMEM;
    }
    int result = put_made(cache, put, object);
    firn_object_unref(object);
    return result;
}

static int put_bytes(firn_cache *cache, change *put) {
    enum destination to = destination_of_bytes(cache, put);
    if (to == TO_NOWHERE) {
        return refuse(cache, put->value_size);
    }
    return to == TO_COLD_TIER ? put_below(cache, put) : put_copy(cache, put, to == TO_RESIDENTS);
}

/* The links that the program gave, and behind the one to the body, if there is one. */
static int begin_plan(firn_cache *cache, firn_link_plan *plan, const change *put,
                      const firn_put_options *options) {
    size_t count = options->link_count;
    bool owned = options->owned != 0;
    if (put->body == NULL) {
        return firn_link_plan_begin(cache, plan, options->links, count, 0, owned);
    }
    int result = firn_links_check(cache, options->links, count);
    if (result != FIRN_OK) {
        return result;
    }
    size_t size = (count + 1) * sizeof(firn_link);
    firn_link *links = firn_heap_alloc(cache->heap, size);
    if (links == NULL) {
        return no_memory_for(cache, put->value_size);
    }
    firn_intern_link(put->body, &links[0]);
    if (count > 0) {
        memcpy(&links[1], options->links, count * sizeof *links);
    }
    result = firn_link_plan_begin(cache, plan, links, count + 1, 1, owned);
    firn_heap_free(cache->heap, links, size);
    return result;
}

static bool wants_intern(const firn_cache *cache, const change *put,
                         const firn_put_options *options) {
    bool asked = options->intern == FIRN_INTERN_YES ||
                 (options->intern == FIRN_INTERN_DEFAULT && cache->options.intern_bytes != 0 &&
                  put->value_size >= cache->options.intern_bytes);
    return asked && put->type == NULL && put->value_size > 0 &&
           destination_of_bytes(cache, put) == TO_RESIDENTS;
}

/* Works the links out, and puts: a plan must have its end whatever comes. */
static int put_planned_once(firn_cache *cache, change *put, const firn_put_options *options) {
    firn_link_plan plan;
    const firn_traits traits = put->traits;
    put->links_changed = false;
    int result = begin_plan(cache, &plan, put, options);
    if (result != FIRN_OK) {
        return result;
    }
    if (firn_link_plan_any(&plan)) {
        put->plan = &plan;
        end_by(&put->traits, plan.expires_ms);
    }
    result = put->plan != NULL || put->type != NULL ? put_rich(cache, put) : put_bytes(cache, put);
    firn_link_plan_end(cache, &plan);
    put->plan = NULL;
    put->traits = traits;
    return result;
}

/* If a target changes meanwhile, its version is looked at once more. */
static int put_planned(firn_cache *cache, change *put, const firn_put_options *options) {
    int result = FIRN_CONFLICT;
    put->links_changed = true;
    for (unsigned i = 0; i < ATTEMPTS && result == FIRN_CONFLICT && put->links_changed; i++) {
        result = put_planned_once(cache, put, options);
    }
    return result;
}

/* The value is looked for, or put as one that others can have too. */
static int put_interned(firn_cache *cache, change *put, const firn_put_options *options) {
    int result = FIRN_CONFLICT;
    /* The body may go before the entry is there that keeps it. */
    put->links_changed = true;
    for (unsigned i = 0; i < ATTEMPTS && result == FIRN_CONFLICT && put->links_changed; i++) {
        firn_links_settle(cache);
        result = firn_intern(cache, put->value, put->value_size, &put->body);
        if (result == FIRN_OK || result == FIRN_NOT_FOUND) {
            result = put_planned_once(cache, put, options);
        }
        firn_object_unref(put->body);
        put->body = NULL;
    }
    return result;
}

/* The ways of putting: all checks, and the change. put: key, value and condition are filled in, and
 * the traits if they are to be kept. */
static int put_value(firn_cache *cache, change *put, const firn_put_options *options,
                     bool keep_traits) {
    if (cache == NULL || (put->value == NULL && put->value_size > 0)) {
        return FIRN_EINVAL;
    }
    int result = firn_check_key(cache, put->key, put->key_size);
    if (result == FIRN_OK) {
        result = firn_check_writable(cache);
    }
    firn_put_options full = FIRN_PUT_OPTIONS_INIT;
    uint64_t tags[FIRN_TAGS_MAX];
    if (result == FIRN_OK && !keep_traits) {
        result = firn_put_options_read(cache, put->key, put->key_size, options, &full, &put->traits,
                                       tags);
        put->type = full.type;
    }
    if (result != FIRN_OK) {
        return result;
    }
    put->began_ns = begin_timed(cache, &cache->timing.puts);
    put->hash = firn_hash64(cache->seed, put->key, put->key_size);
    firn_hot_prefetch(cache->hot, put->hash); /* while the object is made */
    bool plain = full.type == NULL && full.link_count == 0 && full.owned == 0;
    if (wants_intern(cache, put, &full)) {
        result = put_interned(cache, put, &full);
    } else {
        result = plain ? put_bytes(cache, put) : put_planned(cache, put, &full);
    }
    return finish_put(cache, put, result);
}

int firn_put_body(firn_cache *cache, const void *key, size_t key_size, const void *value,
                  size_t value_size, firn_object **object) {
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    change put = {.key = key,
                  .key_size = key_size,
                  .hash = firn_hash64(cache->seed, key, key_size),
                  .value = value,
                  .value_size = value_size,
                  .is_body = true,
                  .condition = IF_ABSENT};
    firn_link_plan plan;
    options.owned = 1;
    int result = begin_plan(cache, &plan, &put, &options);
    if (result != FIRN_OK) {
        return result;
    }
    put.plan = &plan;
    *object = make_rich(cache, &put);
    result = *object != NULL ? put_made(cache, &put, *object) : FIRN_ENOMEM;
    firn_link_plan_end(cache, &plan);
    if (result != FIRN_OK) {
        firn_object_unref(*object);
        *object = NULL;
    }
    return result;
}

int firn_put(firn_cache *cache, const void *key, size_t key_size, const void *value,
             size_t value_size, const firn_put_options *options) {
    change put = {.key = key,
                  .key_size = key_size,
                  .value = value,
                  .value_size = value_size,
                  .condition = ALWAYS};
    return put_value(cache, &put, options, false);
}

/* The links of an object that is still to be put: they are looked at then. */
static int link_new(firn_cache *cache, const firn_put_options *options, firn_object **object) {
    int result = firn_links_check(cache, options->links, options->link_count);
    firn_links *block = NULL;
    if (result == FIRN_OK && options->link_count > 0) {
        block = firn_links_new(cache->heap, options->links, options->link_count);
        result = block != NULL ? FIRN_OK : no_memory_for(cache, firn_object_size(*object));
    }
    if (result == FIRN_OK) {
        firn_object_set_links(*object, block);
        firn_object_rich_of(*object)->owned = options->owned != 0;
    } else {
        firn_object_unref(*object);
        *object = NULL;
    }
    return result;
}

int firn_object_new_any(firn_cache *cache, const void *key, size_t key_size, size_t value_size,
                        const firn_put_options *options, firn_object **object) {
    *object = NULL;
    firn_put_options full;
    firn_traits traits;
    uint64_t tags[FIRN_TAGS_MAX];
    int result = firn_check_key(cache, key, key_size);
    if (result == FIRN_OK) {
        result = firn_put_options_read(cache, key, key_size, options, &full, &traits, tags);
    }
    if (result != FIRN_OK) {
        return result;
    }
    bool plain = full.type == NULL && full.link_count == 0 && full.owned == 0;
    *object =
        plain ? firn_object_make(cache->pool, key, key_size, value_size, &traits)
              : firn_object_make_rich(cache->pool, key, key_size, value_size, &traits, full.type);
    if (*object == NULL) {
        return no_memory_for(cache, value_size);
    }
    return plain ? FIRN_OK : link_new(cache, &full, object);
}

int firn_object_new(firn_cache *cache, const void *key, size_t key_size, size_t value_size,
                    const firn_put_options *options, firn_object **object) {
    if (object != NULL) {
        *object = NULL;
    }
    if (cache == NULL || object == NULL) {
        return FIRN_EINVAL;
    }
    int result = firn_object_new_any(cache, key, key_size, value_size, options, object);
    firn_note_handle(cache, *object, __builtin_return_address(0));
    return result;
}

/* The object has the links as they were given; it is put with what they come to now. */
static int put_object_once(firn_cache *cache, change *put, firn_object *object) {
    firn_link_plan plan;
    put->links_changed = false;
    int result = firn_link_plan_of(cache, &plan, object, false);
    if (result != FIRN_OK) {
        return result;
    }
    firn_links *given = firn_object_get_links(object);
    if (firn_link_plan_any(&plan)) {
        put->plan = &plan;
        end_by(&put->traits, plan.expires_ms);
        set_links(object, &plan);
        firn_object_set_expiry_locked(object, put->traits.expires_ms); /* nobody else knows it */
    }
    result = put_made(cache, put, object);
    if (put->version == 0 && firn_link_plan_any(&plan)) {
        firn_object_set_links(object, given);
    } else {
        firn_links_unref(given, cache->heap);
    }
    firn_link_plan_end(cache, &plan);
    put->plan = NULL;
    return result;
}

static change change_of_object(const firn_cache *cache, const firn_object *object) {
    change put = {.condition = ALWAYS,
                  .type = firn_object_type(object),
                  .value = firn_object_data(object),
                  .value_size = firn_object_size(object),
                  .traits = firn_object_get_traits(object)};
    put.key = firn_object_key(object, &put.key_size);
    put.hash = firn_hash64(cache->seed, put.key, put.key_size);
    return put;
}

static int put_object(firn_cache *cache, change *put, firn_object *object) {
    const firn_traits traits = put->traits;
    int result = FIRN_CONFLICT;
    put->links_changed = true;
    for (unsigned i = 0; i < ATTEMPTS && result == FIRN_CONFLICT && put->links_changed; i++) {
        put->traits = traits;
        result = put_object_once(cache, put, object);
    }
    return result;
}

int firn_put_object(firn_cache *cache, firn_object *object) {
    if (cache == NULL || object == NULL) {
        return FIRN_EINVAL;
    }
    if (firn_object_pool(object) != cache->pool || firn_object_version(object) != 0) {
        return firn_detail_set(&cache->detail, FIRN_EINVAL,
                               "firn_put_object takes an object that firn_object_new of this cache "
                               "made, and takes it once");
    }
    int result = firn_check_writable(cache);
    if (result != FIRN_OK) {
        return result;
    }
    change put = change_of_object(cache, object);
    put.began_ns = begin_timed(cache, &cache->timing.puts);
    return finish_put(cache, &put, put_object(cache, &put, object));
}

int firn_put_loaded(firn_cache *cache, firn_object *object, unsigned intern, firn_flight *flight) {
    int result = firn_check_writable(cache);
    change put = change_of_object(cache, object);
    put.flight = flight;
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.intern = intern;
    if (result == FIRN_OK) {
        bool shared = !firn_object_is_rich(object) && wants_intern(cache, &put, &options);
        result = shared ? put_interned(cache, &put, &options) : put_object(cache, &put, object);
        result = finish_put(cache, &put, result);
    }
    if (firn_object_version(object) == 0 && put.version != 0) {
        firn_object_set_version(object, put.version); /* the entry's value is elsewhere */
    }
    return result;
}

int firn_put_negative(firn_cache *cache, const void *key, size_t key_size, uint64_t expires_ms,
                      firn_flight *flight) {
    int result = firn_check_writable(cache);
    if (result != FIRN_OK) {
        return result;
    }
    const firn_traits traits = {.expires_ms = expires_ms, .negative = true};
    firn_object *object = firn_object_make(cache->pool, key, key_size, 0, &traits);
    if (object == NULL) {
        return no_memory_for(cache, 0);
    }
    change put = change_of_object(cache, object);
    put.flight = flight;
    result = finish_put(cache, &put, put_made(cache, &put, object));
    firn_object_unref(object);
    return result;
}

int firn_add(firn_cache *cache, const void *key, size_t key_size, const void *value,
             size_t value_size, const firn_put_options *options) {
    change put = {.key = key,
                  .key_size = key_size,
                  .value = value,
                  .value_size = value_size,
                  .condition = IF_ABSENT};
    return put_value(cache, &put, options, false);
}

int firn_replace(firn_cache *cache, const void *key, size_t key_size, const void *value,
                 size_t value_size, const firn_put_options *options) {
    change put = {.key = key,
                  .key_size = key_size,
                  .value = value,
                  .value_size = value_size,
                  .condition = IF_PRESENT};
    return put_value(cache, &put, options, false);
}

int firn_compare_and_swap(firn_cache *cache, const void *key, size_t key_size, uint64_t expected,
                          const void *value, size_t value_size, const firn_put_options *options,
                          uint64_t *version) {
    change put = {.key = key,
                  .key_size = key_size,
                  .value = value,
                  .value_size = value_size,
                  .condition = IF_VERSION,
                  .expected = expected};
    int result = put_value(cache, &put, options, false);
    if (version != NULL) {
        *version = result == FIRN_OK ? put.version : 0;
    }
    return result;
}

/* The number an entry holds, in the bytes of an int64_t, which is what firn_increment writes. */
static int read_number(firn_cache *cache, const firn_object *object, uint64_t *number) {
    if (firn_object_type(object) != NULL) {
        return firn_refuse_typed(cache, object);
    }
    if (firn_object_size(object) != sizeof *number) {
        return firn_detail_set(&cache->detail, FIRN_EINVAL,
                               "the entry's value has %zu bytes; a number has 8",
                               firn_object_size(object));
    }
    memcpy(number, firn_object_data(object), sizeof *number);
    return FIRN_OK;
}

int firn_increment(firn_cache *cache, const void *key, size_t key_size, int64_t by, int64_t initial,
                   const firn_put_options *options, int64_t *value) {
    if (value != NULL) {
        *value = 0;
    }
    for (;;) {
        firn_object *object;
        int result = firn_look(cache, key, key_size, &object);
        uint64_t number = (uint64_t)initial;
        change put = {.key = key, .key_size = key_size, .condition = IF_ABSENT};
        if (result == FIRN_OK) {
            result = read_number(cache, object, &number);
            number += (uint64_t)by; /* wraps */
            put.condition = IF_VERSION;
            put.expected = firn_object_version(object);
            put.traits = firn_object_get_traits(object);
        } else if (result == FIRN_NOT_FOUND) {
            result = FIRN_OK;
        }
        if (result != FIRN_OK) {
            firn_object_unref(object);
            return result;
        }
        put.value = &number;
        put.value_size = sizeof number;
        bool keep_traits = options == NULL && put.condition == IF_VERSION;
        result = put_value(cache, &put, options, keep_traits);
        firn_object_unref(object);
        if (result == FIRN_OK && value != NULL) {
            memcpy(value, &number, sizeof number);
        }
        /* Somebody was faster: what they left is what counts. */
        if (result != FIRN_CONFLICT && result != FIRN_EXISTS &&
            (result != FIRN_NOT_FOUND || put.condition != IF_VERSION)) {
            return result;
        }
    }
}

/* A value of a type is copied by way of its bytes. */
static int put_clone(firn_cache *cache, change *put, const firn_object *found) {
    firn_encoder encoder;
    firn_attributes attributes = {0};
    firn_object *clone = NULL;
    firn_encoder_init(&encoder, cache->heap);
    int result = firn_types_encode(&encoder, found, &attributes);
    if (result == FIRN_OK) {
        result =
            firn_types_decode(cache->pool, put->type, attributes.type_version, put->key,
                              put->key_size, encoder.bytes, encoder.size, &put->traits, &clone);
    }
    firn_encoder_clear(&encoder, 0);
    if (result != FIRN_OK) {
        return firn_detail_set(&cache->detail, result,
                               "a value of type '%s' cannot be copied to get another lifetime, or "
                               "other links",
                               put->type->name);
    }
    if (put->plan != NULL) {
        set_links(clone, put->plan);
        firn_object_rich_of(clone)->owned = put->plan->owned;
    }
    enum destination to = destination_of(cache, put, firn_object_charge(clone));
    result = to == TO_RESIDENTS || to == TO_QUEUE
                 ? put_in_memory(cache, put, clone, to == TO_RESIDENTS)
                 : refuse(cache, put->value_size);
    firn_object_unref(clone);
    return result;
}

/* Whether what is to change of the object itself, links or expiry, may be changed in it: nothing
 * below knows of it, nor will before the writer has looked at it. */
static bool may_change_locked(const firn_object *object) {
    unsigned state = firn_object_state(object);
    const firn_type *type = firn_object_type(object);
    bool never_written = type != NULL && type->encode == NULL;
    return (state & FIRN_RESIDENT) != 0 &&
           ((state & (FIRN_STORED | FIRN_QUEUED)) == 0 || never_written);
}

/* *done: the entry that is there was changed in place. put->version: what it must be. */
static int change_in_place(firn_cache *cache, const change *put, bool is_hit, bool *done) {
    *done = false;
    firn_hot_shard *shard = firn_hot_lock(cache->hot, put->hash);
    firn_object *old = firn_hot_find_locked(shard, put->hash, put->key, put->key_size);
    int result = FIRN_OK;
    if (old == NULL) {
        /* It is below, or gone. */
    } else if (firn_is_absent(cache, old)) {
        result = FIRN_NOT_FOUND;
    } else if (firn_object_version(old) != put->expected) {
        result = FIRN_CONFLICT;
    } else if (may_change_locked(old) && (put->plan == NULL || firn_object_is_rich(old))) {
        if (put->plan != NULL) {
            result = firn_links_put_locked(cache, put->hash, put->expected, put->plan, false);
        }
        uint64_t before_ms = firn_object_expires_ms(old);
        *done = result == FIRN_OK && firn_hot_set_expiry_locked(shard, old, put->traits.expires_ms);
        if (*done && put->plan != NULL) {
            set_links(old, put->plan);
        }
        if (*done && sooner(before_ms, put->traits.expires_ms) != before_ms) {
            firn_links_change_locked(cache, put->hash);
        }
        if (*done && is_hit) {
            firn_hot_hit_locked(shard, old);
        }
    }
    firn_hot_unlock(shard);
    return result;
}

/* Puts the value of an object once more, with the expiry and the links of put: in place, or by a
 * copy that the cold tier has yet to learn of. */
static int put_again(firn_cache *cache, change *put, const firn_object *found, bool is_hit) {
    bool done;
    put->condition = IF_VERSION;
    put->expected = firn_object_version(found);
    put->same_value = sooner(firn_object_expires_ms(found), put->traits.expires_ms) ==
                      firn_object_expires_ms(found); /* else what depends on it has to know */
    put->version = 0;
    int result = change_in_place(cache, put, is_hit, &done);
    if (result != FIRN_OK || done) {
        return result;
    }
    put->value = firn_object_data(found);
    put->value_size = firn_object_size(found);
    put->type = firn_object_type(found);
    put->body = firn_object_body_of(found); /* lent: it stays as long as found does */
    result = put->type != NULL   ? put_clone(cache, put, found)
             : put->plan != NULL ? put_rich(cache, put)
                                 : put_bytes(cache, put);
    return result == FIRN_OK ? sync_if_asked(cache) : result;
}

int firn_put_same(firn_cache *cache, firn_object *object, const firn_link_plan *plan) {
    change put = {.plan = plan, .traits = firn_object_get_traits(object)};
    end_by(&put.traits, plan->expires_ms);
    put.key = firn_object_key(object, &put.key_size);
    put.hash = firn_hash64(cache->seed, put.key, put.key_size);
    return put_again(cache, &put, object, false);
}

/* The links of the entry go on as they are. */
static int touch_found(firn_cache *cache, change *put, const firn_object *found, bool is_hit) {
    const firn_traits traits = put->traits;
    firn_link_plan plan;
    int result = firn_link_plan_of(cache, &plan, found, true);
    if (result != FIRN_OK) {
        return result;
    }
    if (firn_link_plan_any(&plan)) {
        put->plan = &plan;
        end_by(&put->traits, plan.expires_ms);
    }
    result = put_again(cache, put, found, is_hit);
    firn_link_plan_end(cache, &plan);
    put->plan = NULL;
    put->traits = traits;
    return result;
}

int firn_touch(firn_cache *cache, const void *key, size_t key_size, uint64_t ttl_ms) {
    return firn_get_and_touch(cache, key, key_size, ttl_ms, NULL);
}

int firn_get_and_touch(firn_cache *cache, const void *key, size_t key_size, uint64_t ttl_ms,
                       firn_object **object) {
    if (object != NULL) {
        *object = NULL;
    }
    if (cache == NULL) {
        return FIRN_EINVAL;
    }
    int result = firn_check_key(cache, key, key_size);
    if (result == FIRN_OK) {
        result = firn_check_writable(cache);
    }
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.ttl_ms = ttl_ms;
    change put = {.key = key, .key_size = key_size};
    firn_traits given;
    if (result == FIRN_OK) {
        firn_put_options full;
        result = firn_put_options_read(cache, key, key_size, &options, &full, &given, NULL);
    }
    if (result != FIRN_OK) {
        return result;
    }
    put.hash = firn_hash64(cache->seed, key, key_size);
    for (unsigned i = 0; i < TOUCH_ATTEMPTS; i++) {
        firn_object *found;
        result = object != NULL ? firn_get_any(cache, key, key_size, &found)
                                : firn_look(cache, key, key_size, &found);
        if (result != FIRN_OK) {
            return result;
        }
        put.traits = firn_object_get_traits(found);
        put.traits.expires_ms = given.expires_ms;
        firn_traits_add_stale(&put.traits);
        result = touch_found(cache, &put, found, object == NULL);
        int settled = firn_links_settle(cache); /* also what stood against it, if it was doomed */
        if (result == FIRN_OK && object != NULL) {
            firn_note_handle(cache, found, __builtin_return_address(0));
            *object = found;
            return FIRN_OK;
        }
        firn_object_unref(found);
        if (result != FIRN_CONFLICT || settled != FIRN_OK) {
            return result == FIRN_CONFLICT ? settled : result;
        }
    }
    return FIRN_NOT_FOUND; /* it goes as fast as we look */
}

/* of: whatever knows the key. */
static void tell_deleted(firn_cache *cache, const change *put, firn_object *of) {
    if (!put->quiet) {
        firn_decide_of(cache, put->hash, of, FIRN_DECISION_DELETE, FIRN_REASON_PROGRAM, 0);
    }
}

/* One try to delete. known: what the cold tier said of the key. */
static int delete_locked(firn_cache *cache, firn_hot_shard *shard, firn_object *tombstone,
                         const change *put, below *known, firn_victims *victims) {
    firn_object *old = firn_hot_find_locked(shard, put->hash, put->key, put->key_size);
    if (put->condition == IF_PRESENT) {
        /* Also if there is none: what is being loaded may be what the program deletes. */
        firn_flights_change_locked(&cache->flights, put->hash, put->flight);
    }
    if (old != NULL && (firn_object_state(old) & FIRN_TOMBSTONE) == 0 &&
        firn_is_expired(cache, old)) {
        old = firn_expire_locked(cache, shard, put->hash, old);
        if (old != NULL) {
            firn_victims_add(victims, old);
        }
        return FIRN_NOT_FOUND;
    }
    int result = check_condition_locked(cache, put, old, known);
    if (result != FIRN_OK) {
        return result;
    }
    firn_flights_change_locked(&cache->flights, put->hash, put->flight);
    if (cache->cold == NULL) {
        firn_hot_remove_locked(shard, put->hash, old, false);
        firn_links_remove_locked(cache, put->hash);
        firn_victims_add(victims, old);
        tell_deleted(cache, put, old);
        return FIRN_OK;
    }
    result = old == NULL ? firn_hot_reserve_locked(shard, put->hash) : FIRN_OK;
    if (result == FIRN_OK) {
        result = firn_queue_reserve(&cache->queue);
    }
    if (result != FIRN_OK) {
        return result;
    }
    uint64_t version = atomic_fetch_add_explicit(&cache->version, 1, memory_order_relaxed);
    bool alone = firn_is_alone_locked(cache, old, put->hash);
    result = firn_void_below_locked(cache, old, alone, put->hash, version);
    if (result != FIRN_OK) {
        firn_queue_release(&cache->queue);
        return result;
    }
    firn_object_set_version(tombstone, version);
    firn_hot_insert_locked(shard, put->hash, tombstone, old, FIRN_TOMBSTONE);
    firn_links_remove_locked(cache, put->hash);
    firn_enqueue_locked(cache, shard, tombstone);
    tell_deleted(cache, put, tombstone);
    if (old != NULL) {
        firn_victims_add(victims, old);
    }
    return FIRN_OK;
}

static int delete_with(firn_cache *cache, firn_object *tombstone, const change *put) {
    below known = {.asked = false};
    for (;;) {
        firn_victims victims; /* all of it is not worth clearing */
        victims.count = 0;
        firn_hot_shard *shard = firn_hot_lock(cache->hot, put->hash);
        int result = delete_locked(cache, shard, tombstone, put, &known, &victims);
        firn_hot_unlock(shard);
        firn_victims_release(&victims);
        if (result == FIRN_AGAIN) {
            firn_cold_meta meta = {.version = 0};
            known.result =
                firn_cold_read(cache->cold, put->hash, put->key, put->key_size, NULL, NULL, &meta);
            known.version = meta.version;
            if (known.result == FIRN_ECORRUPT) {
                known.result = FIRN_OK; /* whatever it was, it is to go */
            }
            known.asked = true;
        } else if (result == FIRN_EBUSY) {
            result = firn_relieve_journal(cache);
            if (result != FIRN_OK) {
                return result;
            }
        } else {
            return result;
        }
    }
}

static int delete_if(firn_cache *cache, change *put) {
    int result = FIRN_OK;
    firn_object *tombstone = NULL;
    if (result == FIRN_OK && cache->cold != NULL) {
        result = firn_make_room(cache, firn_object_charge_for(cache->pool, put->key_size, 0, NULL));
        if (result == FIRN_OK) {
            tombstone = firn_object_make(cache->pool, put->key, put->key_size, 0, NULL);
            if (tombstone == NULL) {
                result =
                    firn_detail_set(&cache->detail, FIRN_ENOMEM, "no memory to delete an entry");
            }
        }
    }
    if (result != FIRN_OK) {
        return result;
    }
    put->hash = firn_hash64(cache->seed, put->key, put->key_size);
    result = delete_with(cache, tombstone, put);
    firn_object_unref(tombstone);
    return result == FIRN_OK ? sync_if_asked(cache) : result;
}

static int delete_counted(firn_cache *cache, change *put) {
    int result = firn_check_key(cache, put->key, put->key_size);
    if (result == FIRN_OK) {
        result = firn_check_writable(cache);
    }
    if (result == FIRN_OK) {
        put->began_ns = begin_timed(cache, &cache->timing.deletes);
        result = delete_if(cache, put);
    }
    if (result == FIRN_OK) {
        firn_count_sampled(cache->counters, FIRN_EVENT_DELETE, &cache->timing.deletes,
                           CHANGES_A_SAMPLE);
        end_timed(cache, FIRN_LATENCY_DELETE, put);
        firn_note_delete(cache, put->hash);
        firn_count_group(cache, firn_group_of_key(cache, put->key, put->key_size),
                         FIRN_EVENT_DELETE);
    }
    int settled = firn_links_settle(cache);
    firn_tell(cache);
    return result == FIRN_OK ? settled : result;
}

int firn_delete(firn_cache *cache, const void *key, size_t key_size) {
    change put = {.key = key, .key_size = key_size, .condition = IF_PRESENT, .takes_stale = true};
    return cache != NULL ? delete_counted(cache, &put) : FIRN_EINVAL;
}

int firn_delete_version(firn_cache *cache, const void *key, size_t key_size, uint64_t version) {
    change put = {.key = key,
                  .key_size = key_size,
                  .condition = IF_VERSION,
                  .expected = version,
                  .takes_stale = true};
    return delete_counted(cache, &put);
}

int firn_delete_quietly(firn_cache *cache, const void *key, size_t key_size, uint64_t version) {
    change put = {.key = key,
                  .key_size = key_size,
                  .condition = version != 0 ? IF_VERSION : IF_PRESENT,
                  .takes_stale = true,
                  .quiet = true,
                  .expected = version};
    return delete_if(cache, &put);
}

int firn_delete_loaded(firn_cache *cache, const void *key, size_t key_size, firn_flight *flight) {
    change put = {.key = key,
                  .key_size = key_size,
                  .condition = IF_PRESENT,
                  .takes_stale = true,
                  .flight = flight};
    int result = firn_check_writable(cache);
    if (result == FIRN_OK) {
        result = delete_if(cache, &put);
    }
    int settled = firn_links_settle(cache);
    return result == FIRN_OK ? settled : result;
}
