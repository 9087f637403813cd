/* Getting an entry, or loading it: firn_get_or_load and its kin. See firn/load.h.
 *
 * Each key that is wanted is a request. It is looked for; if what there is will not do, its flight
 * is entered: whoever leads it asks the program's loader and puts what that gives, the others wait
 * for the end. What waits while it leads nothing cannot stand in anybody's way, so a batch waits
 * for others when its own flights have ended.
 *
 * Knows loaders, flights, and how entries are found and put; nothing of how they are kept. */
#include <string.h>

#include "tier/cache.h"

enum state { PENDING, LEADING, WAITING, DONE };

typedef struct request {
    const void *key;
    size_t key_size;
    uint64_t hash;
    size_t at; /* its place in the batch */
    bool told; /* that its record cannot be read, if that is so: by us, or by the get before us */
    enum state state;
    enum firn_presence presence;
    firn_object *object; /* what there is; when it is done, what is given; a reference */
    int result;          /* when it is done */
    firn_flight *flight; /* LEADING, WAITING */
    firn_load load;
} request;

/* A call of the program's. */
typedef struct job {
    firn_cache *cache;
    const firn_loader *loader;
    uint64_t until_ns; /* when waiting ends, monotonic; 0: it has not begun */
    request *requests;
    size_t count;
    /* Room for as many, to call load_many with. */
    request **led;
    firn_key *keys;
    firn_load **loads;
} job;

/* A call of a loader that is under way on this thread. */
typedef struct frame {
    const struct frame *outer;
    const firn_cache *cache;
    request *const *led;
    size_t count;
} frame;

/* Empty whenever no loader runs on the thread. */
static _Thread_local const frame *innermost;

/* What there is, also if it is stale or negative; not if it has expired. Counts nothing. FIRN_OK,
 * FIRN_NOT_FOUND or an error. */
static int find(firn_cache *cache, request *self, firn_object **object) {
    uint32_t removals = cache->cold != NULL ? firn_removals_look(cache, self->hash) : 0;
    firn_object *found = firn_hot_get(cache->hot, self->hash, self->key, self->key_size);
    *object = NULL;
    if (found == NULL && cache->cold != NULL) {
        firn_raise raise = {.cache = cache, .takes_all = true};
        int result = firn_cold_read(cache->cold, self->hash, self->key, self->key_size,
                                    firn_raise_place, &raise, NULL);
        result = firn_raise_finish(&raise, self->key, self->key_size, result);
        if (!self->told) {
            self->told = firn_decide_unreadable(cache, self->hash, result);
        }
        if (result == FIRN_OK) {
            firn_promote(cache, self->hash, &raise.object, removals);
            found = raise.object;
        } else if (result == FIRN_NOT_FOUND) { /* it may have come up in between */
            found = firn_hot_get(cache->hot, self->hash, self->key, self->key_size);
        } else if (result != FIRN_ECORRUPT && result != FIRN_EIO) { /* which a load may mend */
            return result;
        }
    }
    if (found != NULL &&
        ((firn_object_state(found) & FIRN_TOMBSTONE) != 0 || firn_is_expired(cache, found))) {
        firn_object_unref(found);
        found = NULL;
    }
    *object = found;
    return found != NULL ? FIRN_OK : FIRN_NOT_FOUND;
}

static void replace(firn_object **place, firn_object *object) {
    firn_object *before = *place;
    *place = object;
    firn_object_unref(before);
}

static void finish(request *self, int result) {
    self->state = DONE;
    self->result = result;
    if (result != FIRN_OK && result != FIRN_STALE) {
        replace(&self->object, NULL);
    }
}

/* No new value is to be had, or it is not waited for: what there is has to do, if it may. */
static void make_do(firn_cache *cache, request *self, int error) {
    if (self->presence == FIRN_WANING) {
        finish(self, FIRN_OK);
    } else if (self->presence == FIRN_AGED || self->presence == FIRN_LAST_RESORT) {
        firn_count(cache->counters, FIRN_EVENT_STALE_SERVED, 1);
        finish(self, FIRN_STALE);
    } else {
        finish(self, error);
    }
}

static void tell_negative(firn_cache *cache, request *self) {
    firn_count(cache->counters, FIRN_EVENT_NEGATIVE_HIT, 1);
    finish(self, FIRN_NOT_FOUND);
}

/* The first look at a request, or the next one after a flight that took too long. */
static void look(job *self, request *wanted) {
    firn_cache *cache = self->cache;
    int result = find(cache, wanted, &wanted->object);
    if (result != FIRN_OK) {
        wanted->presence = FIRN_ABSENT;
        if (result != FIRN_NOT_FOUND) {
            finish(wanted, result);
        }
        return;
    }
    wanted->presence = firn_load_judge(cache, self->loader, wanted->object);
    if (wanted->presence != FIRN_ABSENT &&
        (firn_object_state(wanted->object) & FIRN_RESIDENT) != 0) {
        firn_hot_note_hit(cache->hot, wanted->hash, wanted->object);
    }
    if (wanted->presence == FIRN_FRESH) {
        finish(wanted, FIRN_OK);
    } else if (wanted->presence == FIRN_NEGATIVE) {
        tell_negative(cache, wanted);
    }
}

/* The flight is ours to end, but there may be a value by now: the last flight may have ended
 * between the look and the entry. What was judged of a value holds, for chance has a say in it. */
static void look_again(job *self, request *wanted) {
    firn_object *found;
    int result = find(self->cache, wanted, &found);
    bool same = result == FIRN_OK && wanted->object != NULL &&
                firn_object_version(found) == firn_object_version(wanted->object);
    replace(&wanted->object, found);
    if (!same) {
        wanted->presence =
            found != NULL ? firn_load_judge(self->cache, self->loader, found) : FIRN_ABSENT;
    }
    if (wanted->presence == FIRN_FRESH) {
        firn_flights_end(&self->cache->flights, wanted->flight, FIRN_OK, found);
        finish(wanted, FIRN_OK);
    } else if (wanted->presence == FIRN_NEGATIVE) {
        firn_flights_end(&self->cache->flights, wanted->flight, FIRN_NOT_FOUND, NULL);
        tell_negative(self->cache, wanted);
    }
}

/* The thread is loading that very key. */
static bool is_recursive(const firn_cache *cache, const request *wanted) {
    for (const frame *at = innermost; at != NULL; at = at->outer) {
        for (size_t i = 0; at->cache == cache && i < at->count; i++) {
            const request *led = at->led[i];
            if (led->hash == wanted->hash && led->key_size == wanted->key_size &&
                memcmp(led->key, wanted->key, wanted->key_size) == 0) {
                return true;
            }
        }
    }
    return false;
}

uint64_t firn_load_version(const firn_cache *cache) {
    /* Acquire: what came before a clear that has drawn its version is seen by what is loaded. */
    return atomic_load_explicit(&cache->version, memory_order_acquire) - 1;
}

bool firn_load_is_cleared(const firn_cache *cache, const firn_flight *flight, const void *key,
                          size_t key_size, const firn_traits *traits) {
    static const firn_traits none = {0};
    if (cache->options.read_only) {
        return false; /* it gives no versions, and its clears are another's */
    }
    return firn_flights_is_clearing(&cache->flights) ||
           firn_clears_void(&cache->clears, flight->version, key, key_size,
                            traits != NULL ? traits : &none);
}

/* Enters the flight of a request whose value will not do. */
static void enter(job *self, request *wanted) {
    firn_cache *cache = self->cache;
    bool can_do = wanted->presence == FIRN_WANING || wanted->presence == FIRN_AGED;
    if (is_recursive(cache, wanted)) {
        int error = firn_detail_set(&cache->detail, FIRN_EDEADLK,
                                    "a loader asked for the key that it is loading");
        make_do(cache, wanted, error);
        return;
    }
    enum firn_flight_role role = FIRN_FLIGHT_PASSENGER;
    firn_hot_shard *shard = firn_hot_lock(cache->hot, wanted->hash);
    wanted->flight = firn_flights_enter_locked(
        &cache->flights, wanted->hash, wanted->key, wanted->key_size, firn_load_version(cache),
        firn_ns_of_ms(self->loader->load_timeout_ms), !can_do, &role);
    firn_hot_unlock(shard);
    if (wanted->flight == NULL) {
        make_do(cache, wanted, firn_detail_set(&cache->detail, FIRN_ENOMEM, "no memory to load"));
    } else if (role == FIRN_FLIGHT_LEADER) {
        wanted->state = LEADING;
        look_again(self, wanted);
        can_do = wanted->presence == FIRN_WANING || wanted->presence == FIRN_AGED;
        if (wanted->state == LEADING && can_do &&
            self->loader->refresh == FIRN_REFRESH_BACKGROUND &&
            firn_refresh_later(cache, self->loader, wanted->flight,
                               firn_object_version(wanted->object))) {
            make_do(cache, wanted, FIRN_OK);
        }
    } else if (can_do) {
        firn_flights_leave(&cache->flights, wanted->flight);
        make_do(cache, wanted, FIRN_OK);
    } else if (firn_load_is_cleared(cache, wanted->flight, wanted->key, wanted->key_size, NULL)) {
        firn_flights_spoil(&cache->flights, wanted->flight);
        firn_flights_leave(&cache->flights, wanted->flight); /* and the next round loads */
    } else {
        wanted->state = WAITING;
    }
}

/* Puts a value, which belongs to whoever holds it, whatever comes of that. */
static void keep(firn_cache *cache, request *wanted, uint64_t cost_ns) {
    firn_object *object = firn_load_take(&wanted->load, cost_ns);
    int result = cache->options.read_only
                     ? FIRN_EREADONLY
                     : firn_put_loaded(cache, object, wanted->load.options.intern, wanted->flight);
    if (result != FIRN_OK && firn_object_version(object) == 0) {
        /* So that nobody changes or puts it any more. */
        uint64_t version = atomic_fetch_add_explicit(&cache->version, 1, memory_order_relaxed);
        firn_object_set_version(object, version);
        if (firn_object_is_rich(object)) {
            firn_object_enliven(object);
            firn_domain_add_holder(object);
        }
    }
    replace(&wanted->object, object);
}

/* The source has no value. An error here is no news: what is there was to be loaded anyway, and
 * will be once more. */
static void keep_absence(job *self, const request *wanted) {
    firn_cache *cache = self->cache;
    if (cache->options.read_only) {
        return;
    }
    if (self->loader->negative_ttl_ms != 0) {
        (void)firn_put_negative(cache, wanted->key, wanted->key_size,
                                firn_later(firn_now_ms(cache), self->loader->negative_ttl_ms),
                                wanted->flight);
    } else if (wanted->object != NULL) {
        (void)firn_delete_loaded(cache, wanted->key, wanted->key_size, wanted->flight);
    }
}

static unsigned reason_of(int result, bool was_there) {
    return result < 0                 ? FIRN_REASON_LOADER
           : result == FIRN_NOT_FOUND ? FIRN_REASON_NO_VALUE
           : was_there                ? FIRN_REASON_AGED
                                      : FIRN_REASON_MISSED;
}

/* Ends a flight that was led. */
static void conclude(job *self, request *wanted, int result, uint64_t cost_ns) {
    firn_cache *cache = self->cache;
    bool was_there = wanted->presence != FIRN_ABSENT;
    firn_count(cache->counters, FIRN_EVENT_LOAD, 1);
    if (was_there) {
        firn_count(cache->counters, FIRN_EVENT_REFRESH, 1);
    }
    if (result == FIRN_OK) {
        keep(cache, wanted, cost_ns);
    } else {
        firn_object_unref(firn_load_take(&wanted->load, 0));
        if (result == FIRN_NOT_FOUND) {
            keep_absence(self, wanted);
        }
    }
    firn_decide(cache, wanted->hash, result == FIRN_OK ? firn_object_version(wanted->object) : 0,
                FIRN_DECISION_LOAD, reason_of(result, was_there), cost_ns / 1000);
    firn_flights_end(&cache->flights, wanted->flight, result,
                     result == FIRN_OK ? wanted->object : NULL);
    if (result == FIRN_OK || result == FIRN_NOT_FOUND) {
        finish(wanted, result);
    } else {
        firn_count(cache->counters, FIRN_EVENT_LOAD_FAILURE, 1);
        make_do(cache, wanted, result);
    }
}

/* Loads for all flights that are led. */
static void load_led(job *self) {
    const firn_loader *loader = self->loader;
    size_t count = 0;
    for (size_t i = 0; i < self->count; i++) {
        request *wanted = &self->requests[i];
        if (wanted->state == LEADING) {
            firn_load_init(&wanted->load, self->cache, loader, wanted->key, wanted->key_size,
                           wanted->object);
            self->keys[count] = (firn_key){wanted->key, wanted->key_size};
            self->loads[count] = &wanted->load;
            self->led[count++] = wanted;
        }
    }
    if (count == 0) {
        return;
    }
    bool many = loader->load == NULL || count > 1; /* several only if there is load_many */
    const frame here = {innermost, self->cache, self->led, count};
    innermost = &here;
    uint64_t began_ns = firn_monotonic_ns();
    int result = many ? loader->load_many(loader->context, count, self->keys, self->loads)
                      : loader->load(loader->context, self->keys[0].data, self->keys[0].size,
                                     self->loads[0]);
    uint64_t took_ns = firn_monotonic_ns() - began_ns;
    innermost = here.outer;
    firn_count(self->cache->counters, FIRN_EVENT_LOAD_NS, took_ns);
    for (size_t i = 0; i < count; i++) {
        conclude(self, self->led[i], firn_load_outcome(&self->led[i]->load, result, many),
                 took_ns / count);
    }
}

/* What a flight that has ended brought was cleared since it began: perhaps before we came. */
static bool was_cleared(const firn_cache *cache, const request *wanted) {
    const firn_flight *flight = wanted->flight;
    firn_traits traits = {0};
    if (flight->object != NULL) {
        traits = firn_object_get_traits(flight->object);
    }
    return firn_load_is_cleared(cache, flight, wanted->key, wanted->key_size, &traits);
}

static void look_afresh(request *wanted) {
    replace(&wanted->object, NULL);
    wanted->state = PENDING;
}

static void wait_for(job *self, request *wanted) {
    firn_cache *cache = self->cache;
    const firn_flight *flight = wanted->flight;
    if (self->until_ns == 0) {
        uint64_t wait_ns = firn_ns_of_ms(self->loader->wait_ms);
        self->until_ns = wait_ns != 0 ? firn_later(firn_monotonic_ns(), wait_ns) : UINT64_MAX;
    }
    firn_count(cache->counters, FIRN_EVENT_LOAD_JOINED, 1);
    int result =
        firn_flights_wait(&cache->flights, wanted->flight, self->until_ns, innermost != NULL);
    if (result == FIRN_AGAIN) {
        look_afresh(wanted);
    } else if (result == FIRN_ETIMEDOUT) {
        make_do(cache, wanted,
                firn_detail_set(&cache->detail, result, "another's load took longer than wait_ms"));
    } else if (result == FIRN_EDEADLK) {
        make_do(cache, wanted,
                firn_detail_set(&cache->detail, result,
                                "a loader asked for a key whose load waits for its own"));
    } else if (flight->result >= 0 && was_cleared(cache, wanted)) {
        look_afresh(wanted);
    } else if (flight->result == FIRN_OK) {
        replace(&wanted->object, firn_object_keep(flight->object));
        finish(wanted, FIRN_OK);
    } else if (flight->result == FIRN_NOT_FOUND) {
        finish(wanted, FIRN_NOT_FOUND);
    } else {
        make_do(cache, wanted, flight->result);
    }
    firn_flights_leave(&cache->flights, wanted->flight);
}

/* Until all requests are done. Those with an object have been looked at. */
static void serve(job *self) {
    bool left;
    do {
        for (size_t i = 0; i < self->count; i++) {
            request *wanted = &self->requests[i];
            if (wanted->state == PENDING && wanted->object == NULL) {
                look(self, wanted);
            }
            if (wanted->state == PENDING) {
                enter(self, wanted);
            }
        }
        load_led(self);
        left = false;
        for (size_t i = 0; i < self->count; i++) {
            if (self->requests[i].state == WAITING) {
                wait_for(self, &self->requests[i]);
            }
            left = left || self->requests[i].state == PENDING;
        }
    } while (left);
}

/* serve for one request. */
static void serve_one(firn_cache *cache, const firn_loader *loader, request *wanted) {
    request *led;
    firn_key key;
    firn_load *load;
    job self = {.cache = cache,
                .loader = loader,
                .requests = wanted,
                .count = 1,
                .led = &led,
                .keys = &key,
                .loads = &load};
    if (wanted->state == LEADING) {
        load_led(&self);
    } else {
        serve(&self);
    }
}

static request request_for(const firn_cache *cache, const void *key, size_t key_size) {
    return (request){
        .key = key, .key_size = key_size, .hash = firn_hash64(cache->seed, key, key_size)};
}

void firn_load_for(firn_cache *cache, const firn_loader *loader, firn_flight *flight,
                   uint64_t version) {
    request wanted = request_for(cache, flight->key, flight->key_size);
    wanted.flight = flight;
    if (find(cache, &wanted, &wanted.object) != FIRN_OK || firn_flight_is_changed(flight) ||
        firn_object_version(wanted.object) != version) {
        /* It is gone, or new: nobody has to be told, for those who needed it took over. */
        firn_flights_end(&cache->flights, flight, FIRN_EUSER, NULL);
    } else {
        wanted.state = LEADING;
        wanted.presence = FIRN_WANING;
        serve_one(cache, loader, &wanted);
    }
    firn_object_unref(wanted.object);
}

/* What a plain get says is final, but for these: there may be something else than a fresh value, or
 * the tier below failed, which a load may mend. */
static bool is_final(int result) {
    return result != FIRN_OK && result != FIRN_NOT_FOUND && result != FIRN_EIO;
}

/* The rest of firn_get_or_load. object: what a plain get gave, and presence what that is. */
static __attribute__((noinline)) int get_or_load(firn_cache *cache, const void *key,
                                                 size_t key_size, const firn_loader *given,
                                                 enum firn_presence presence,
                                                 firn_object **object) {
    firn_loader loader;
    int result = firn_loader_read(cache, given, &loader);
    if (result != FIRN_OK) {
        replace(object, NULL);
        return result;
    }
    request wanted = request_for(cache, key, key_size);
    wanted.object = *object;
    wanted.presence = presence;
    wanted.told = *object == NULL;
    serve_one(cache, &loader, &wanted);
    *object = wanted.object;
    firn_tell(cache);
    return wanted.result;
}

int firn_get_or_load(firn_cache *cache, const void *key, size_t key_size, const firn_loader *loader,
                     firn_object **object) {
    if (object != NULL) {
        *object = NULL;
    }
    if (cache == NULL || loader == NULL || object == NULL) {
        return FIRN_EINVAL;
    }
    int result = firn_get_any(cache, key, key_size, object);
    if (!is_final(result)) {
        enum firn_presence presence = result != FIRN_OK ? FIRN_ABSENT
                                      : firn_load_may_wane(loader, *object)
                                          ? firn_load_judge(cache, loader, *object)
                                          : FIRN_FRESH;
        if (presence != FIRN_FRESH) {
            result = get_or_load(cache, key, key_size, loader, presence, object);
        }
    }
    firn_note_handle(cache, *object, __builtin_return_address(0));
    return result;
}

/* All requests of a batch, and room for what load_many is called with. */
typedef struct batch {
    job job;
    size_t size; /* bytes */
} batch;

static int begin_batch(firn_cache *cache, const firn_loader *loader, size_t count, batch *self) {
    size_t each = sizeof(request) + sizeof(request *) + sizeof(firn_key) + sizeof(firn_load *);
    self->size = count * each;
    request *requests = count < SIZE_MAX / each ? firn_heap_zalloc(cache->heap, self->size) : NULL;
    if (requests == NULL) {
        return firn_detail_set(&cache->detail, FIRN_ENOMEM, "no memory to load %zu keys", count);
    }
    firn_key *keys = (firn_key *)(requests + count);
    firn_load **loads = (firn_load **)(keys + count);
    self->job = (job){.cache = cache,
                      .loader = loader,
                      .requests = requests,
                      .keys = keys,
                      .loads = loads,
                      .led = (request **)(loads + count)};
    return FIRN_OK;
}

/* Loads what firn_get_many did not give, or what wanes. Of objects, those that are taken to the
 * requests are NULL meanwhile. */
static int load_missing(batch *self, size_t count, const firn_key *keys, firn_object **objects,
                        int *results) {
    job *work = &self->job;
    firn_cache *cache = work->cache;
    for (size_t i = 0; i < count; i++) {
        enum firn_presence presence =
            objects[i] != NULL ? firn_load_judge(cache, work->loader, objects[i]) : FIRN_ABSENT;
        if (presence != FIRN_FRESH) {
            request *wanted = &work->requests[work->count++];
            *wanted = request_for(cache, keys[i].data, keys[i].size);
            wanted->at = i;
            wanted->object = objects[i];
            wanted->presence = presence;
            wanted->told = objects[i] == NULL;
            objects[i] = NULL;
        }
    }
    if (work->loader->load_many != NULL) {
        serve(work);
    }
    int result = FIRN_OK;
    for (size_t i = 0; i < work->count; i++) {
        request *wanted = &work->requests[i];
        if (wanted->state != DONE) {
            serve_one(cache, work->loader, wanted);
        }
        objects[wanted->at] = wanted->object;
        if (results != NULL) {
            results[wanted->at] = wanted->result;
        }
        result = result == FIRN_OK && wanted->result < 0 ? wanted->result : result;
    }
    return result;
}

int firn_get_or_load_many(firn_cache *cache, size_t count, const firn_key *keys,
                          const firn_loader *given, firn_object **objects, int *results) {
    for (size_t i = 0; objects != NULL && i < count; i++) {
        objects[i] = NULL;
    }
    if (cache == NULL || given == NULL || ((keys == NULL || objects == NULL) && count > 0)) {
        return FIRN_EINVAL;
    }
    firn_loader loader;
    int result = firn_loader_read(cache, given, &loader);
    for (size_t i = 0; i < count && result == FIRN_OK; i++) {
        result = firn_check_key(cache, keys[i].data, keys[i].size);
    }
    batch self = {.size = 0};
    if (result == FIRN_OK && count > 0) {
        result = begin_batch(cache, &loader, count, &self);
    }
    if (result != FIRN_OK || count == 0) {
        return result;
    }
    for (size_t i = 0; results != NULL && i < count; i++) {
        results[i] = FIRN_OK;
    }
    /* What it could not look up is looked up once more, each by itself. */
    int hits = firn_get_many(cache, count, keys, objects, NULL);
    (void)hits;
    result = load_missing(&self, count, keys, objects, results);
    firn_heap_free(cache->heap, self.job.requests, self.size);
    firn_tell(cache);
    for (size_t i = 0; i < count && cache->tracker != NULL; i++) {
        firn_note_handle(cache, objects[i], __builtin_return_address(0));
    }
    return result;
}
