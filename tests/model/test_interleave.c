/* Every interleaving of a few threads over the library's own code, for what tells whether it is
 * right: no use after free, every object freed once, accounts exact, every get what an order of the
 * operations explains, nothing lost without a counter.
 *
 *     test_interleave                              all scenarios
 *     test_interleave SCENARIO                     one of them, by a part of its name
 *     test_interleave SCENARIO --schedule 0x7,1x3  one run of it, by what a failure printed
 *     test_interleave SCENARIO --bound 3           with at most that many preemptions
 *
 * FIRN_MODEL_BOUND: a number: bounds all scenarios so; "none": none. FIRN_MODEL_VERBOSE: tells how
 * many runs there were. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <firn/firn.h>

#include "model/interleave/doubles.h"
#include "model/interleave/explorer.h"
#include "tier/cache.h"
#include "unit/never.h"
#include "unit/suite.h"

enum {
    OPERATIONS_MAX = 24,
    HANDLES_MAX = 8,
    INSTANCES_MAX = 32,
    KEY_SIZE = 8,
    HOT_BYTES = 64 << 10,
    LARGE_SIZE = 6400, /* fills most of the queue's share */
    RUNS_MAX = 60000,
};

enum key { A, B, KEYS };

typedef enum operation_kind { GET, PUT, ADD, DELETE, CLEAR } operation_kind;

/* What a thread asked for and got, and when. */
typedef struct operation {
    operation_kind kind;
    enum key key;
    int result;
    unsigned thread; /* MODEL_THREADS_MAX: main */
    uint64_t value;  /* put, or got */
    uint64_t began;
    uint64_t ended;
} operation;

typedef struct value {
    uint64_t number;
    uint64_t inverse;  /* ~number */
    uint64_t instance; /* of a typed value: which of all that were made */
} value;

typedef struct scenario {
    const char *name;
    bool cold;  /* there is a cold tier */
    bool typed; /* values are of a type */
    bool reuse; /* freed memory is given out again at once */
    unsigned write_mode;
    unsigned backpressure;
    bool refuses; /* the demotion policy wants nothing below */
    const char *policy;
    unsigned bound; /* 0: none */
    bool may_miss;  /* a get may find nothing though there is an entry all the while: it looks into
                       one tier after the other, and the entry goes the other way meanwhile */
    void (*setup)(void);
    void (*bodies[MODEL_THREADS_MAX])(void);
    void (*check)(void); /* before the close; may be NULL */
} scenario;

static struct {
    const scenario *scenario;
    firn_cache *cache;
    uint64_t time;
    unsigned count;
    operation operations[OPERATIONS_MAX];
    unsigned held;
    firn_object *handles[HANDLES_MAX];
    uint64_t handle_values[HANDLES_MAX];
    firn_weak *weak;
    uint64_t now_ms;
    unsigned instances;
    unsigned dropped[INSTANCES_MAX];
    _Atomic uint64_t source; /* what a load finds */
} world;

static char keys[KEYS][KEY_SIZE + 1] = {"key-aaaa", "key-bbbb"};

static void require(bool so, const char *what) {
    if (!so) {
        model_fail("%s", what);
    }
}

/* ---- values of a type ---- */

static uint64_t new_instance(void) {
    require(world.instances < INSTANCES_MAX, "too many values for the scenario");
    return world.instances++;
}

static int encode(void *context, const void *from, size_t size, firn_encoder *encoder) {
    (void)context;
    (void)size;
    return firn_encode_bytes(encoder, from, 2 * sizeof(uint64_t));
}

static int decode(void *context, uint32_t version, const void *bytes, size_t size, void *to,
                  size_t to_size) {
    (void)context;
    (void)version;
    (void)to_size;
    value *made = to;
    memcpy(made, bytes, size);
    made->instance = new_instance();
    return FIRN_OK;
}

static void drop(void *context, void *from, size_t size) {
    (void)context;
    (void)size;
    const value *gone = from;
    require(gone->number == ~gone->inverse, "a value was dropped that is none");
    world.dropped[gone->instance]++;
    require(world.dropped[gone->instance] == 1, "a value was dropped twice");
}

static size_t charge(void *context, const void *of, size_t size) {
    (void)context;
    (void)of;
    (void)size;
    return 48;
}

static const firn_type type = {
    .size = sizeof type,
    .name = "value",
    .version = 1,
    .value_size = sizeof(value),
    .charge = charge,
    .encode = encode,
    .decode = decode,
    .drop = drop,
};

/* ---- operations ---- */

static operation *begin(operation_kind kind, enum key key, uint64_t number) {
    model_invoke();
    require(world.count < OPERATIONS_MAX, "too many operations for the scenario");
    operation *made = &world.operations[world.count++];
    *made = (operation){.kind = kind,
                        .key = key,
                        .thread = model_thread(),
                        .value = number,
                        .began = ++world.time,
                        .ended = UINT64_MAX};
    return made;
}

static void end(operation *of, int result) {
    of->result = result;
    model_return();
    of->ended = ++world.time;
}

static uint64_t number_in(const firn_object *object) {
    value found;
    memcpy(&found, firn_object_data(object), 2 * sizeof(uint64_t));
    require(found.number == ~found.inverse, "a value is torn");
    return found.number;
}

static void keep(firn_object *object) {
    require(world.held < HANDLES_MAX, "too many handles for the scenario");
    world.handle_values[world.held] = number_in(object);
    world.handles[world.held++] = object;
}

static void got(operation *of, int result, firn_object *object, bool kept) {
    if (result == FIRN_OK) {
        of->value = number_in(object);
        if (kept) {
            keep(object);
        } else {
            firn_object_unref(object);
        }
    }
    end(of, result);
}

static void get(enum key key, bool kept) {
    operation *of = begin(GET, key, 0);
    firn_object *object;
    int result = firn_get(world.cache, keys[key], KEY_SIZE, &object);
    got(of, result, object, kept);
}

static int put_made(enum key key, uint64_t number) {
    value made = {number, ~number, 0};
    if (!world.scenario->typed) {
        return firn_put(world.cache, keys[key], KEY_SIZE, &made, sizeof made, NULL);
    }
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.type = &type;
    firn_object *object;
    int result = firn_object_new(world.cache, keys[key], KEY_SIZE, sizeof made, &options, &object);
    require(result == FIRN_OK, "no object could be made");
    made.instance = new_instance();
    memcpy(firn_object_value(object), &made, sizeof made);
    result = firn_put_object(world.cache, object);
    firn_object_unref(object);
    return result;
}

static void put(enum key key, uint64_t number) {
    operation *of = begin(PUT, key, number);
    int result = put_made(key, number);
    require(result == FIRN_OK, "a put failed");
    end(of, result);
}

/* The only value of that size in a run. */
static void put_large(enum key key, uint64_t number) {
    static unsigned char bytes[LARGE_SIZE];
    value made = {number, ~number, 0};
    memcpy(bytes, &made, sizeof made);
    operation *of = begin(PUT, key, number);
    int result = firn_put(world.cache, keys[key], KEY_SIZE, bytes, sizeof bytes, NULL);
    require(result == FIRN_OK, "a put failed");
    end(of, result);
}

/* Puts an entry whose time is over. */
static void put_expired(enum key key, uint64_t number) {
    value made = {number, ~number, 0};
    firn_put_options options = FIRN_PUT_OPTIONS_INIT;
    options.ttl_ms = 1000;
    int result = firn_put(world.cache, keys[key], KEY_SIZE, &made, sizeof made, &options);
    require(result == FIRN_OK, "a put failed");
    world.now_ms += 1000;
}

static void get_many(void) {
    operation *of[KEYS];
    firn_object *objects[KEYS];
    firn_key asked[KEYS];
    for (enum key key = A; key < KEYS; key++) {
        of[key] = begin(GET, key, 0);
        asked[key] = (firn_key){keys[key], KEY_SIZE};
    }
    size_t found;
    int result = firn_get_many(world.cache, KEYS, asked, objects, &found);
    require(result == FIRN_OK, "a get of many failed");
    for (enum key key = A; key < KEYS; key++) {
        got(of[key], objects[key] != NULL ? FIRN_OK : FIRN_NOT_FOUND, objects[key], false);
    }
}

static void add(enum key key, uint64_t number) {
    value made = {number, ~number, 0};
    operation *of = begin(ADD, key, number);
    int result = firn_add(world.cache, keys[key], KEY_SIZE, &made, sizeof made, NULL);
    require(result == FIRN_OK || result == FIRN_EXISTS, "an add failed");
    end(of, result);
}

static void delete (enum key key) {
    operation *of = begin(DELETE, key, 0);
    int result = firn_delete(world.cache, keys[key], KEY_SIZE);
    require(result == FIRN_OK || result == FIRN_NOT_FOUND, "a delete failed");
    end(of, result);
}

static void clear_all(void) {
    operation *of = begin(CLEAR, A, 0);
    int result = firn_clear(world.cache, NULL, 0);
    require(result == FIRN_OK, "a clear failed");
    end(of, result);
}

static int load(void *context, const void *key, size_t key_size, firn_load *to) {
    (void)context;
    (void)key;
    (void)key_size;
    uint64_t number = atomic_load_explicit(&world.source, memory_order_relaxed);
    value made = {number, ~number, 0};
    return firn_load_bytes(to, &made, sizeof made);
}

/* What loads put is in no history: the check at the end asks for one thing alone. */
static void load_a(void) {
    firn_loader loader = FIRN_LOADER_INIT;
    loader.load = load;
    firn_object *object;
    int result = firn_get_or_load(world.cache, keys[A], KEY_SIZE, &loader, &object);
    require(result == FIRN_OK, "a load failed");
    number_in(object);
    firn_object_unref(object);
}

static void change_source(void) {
    atomic_store_explicit(&world.source, 2, memory_order_relaxed);
}

static void change_and_delete_a(void) {
    change_source();
    int result = firn_delete(world.cache, keys[A], KEY_SIZE);
    require(result == FIRN_OK || result == FIRN_NOT_FOUND, "a delete failed");
}

static void change_and_clear(void) {
    change_source();
    require(firn_clear(world.cache, NULL, 0) == FIRN_OK, "a clear failed");
}

static void change_and_put_a(void) {
    change_source();
    require(put_made(A, 2) == FIRN_OK, "a put failed");
}

static void unref_last(void) {
    world.held--;
    require(number_in(world.handles[world.held]) == world.handle_values[world.held],
            "an object changed while a handle held it");
    firn_object_unref(world.handles[world.held]);
}

static uint64_t hash_of(enum key key) {
    return firn_hash64(world.cache->seed, keys[key], KEY_SIZE);
}

/* ---- bodies ---- */

static void get_a(void) {
    get(A, false);
}

static void get_a_twice(void) {
    get(A, false);
    get(A, false);
}

static void keep_a(void) {
    get(A, true);
}

static void put_a(void) {
    put(A, 2);
}

static void put_a_other(void) {
    put(A, 3);
}

static void put_b(void) {
    put(B, 4);
}

static void add_a(void) {
    add(A, 5);
}

static void add_a_other(void) {
    add(A, 6);
}

static void delete_a(void) {
    delete (A);
}

static void delete_and_get_a(void) {
    delete (A);
    get(A, false);
}

static void clear_and_get_a(void) {
    clear_all();
    get(A, false);
}

static void sweep(void) {
    firn_lock(&world.cache->worker_lock);
    while (firn_clear_step(world.cache)) {
    }
    firn_unlock(&world.cache->worker_lock);
}

static void put_and_get_a(void) {
    put(A, 2);
    get(A, false);
}

static void unref(void) {
    unref_last();
}

/* Evicts all there is. */
static void evict(void) {
    firn_make_resident_room(world.cache, firn_resident_max(world.cache));
}

static void write(void) {
    int result = firn_write_batch(world.cache);
    require(result == FIRN_OK || result == FIRN_EIO, "a batch failed");
}

static void put_a_and_evict(void) {
    put(A, 2);
    evict();
}

static void evict_and_write(void) {
    evict();
    write();
}

static void write_twice(void) {
    write();
    write();
}

static void reclaim_a(void) {
    doubles_reclaim_next(hash_of(A));
    write();
}

static void flush(void) {
    require(firn_flush(world.cache) == FIRN_OK, "a flush failed");
}

static void upgrade(void) {
    operation *of = begin(GET, A, 0);
    firn_object *object;
    int result = firn_weak_get(world.weak, &object);
    got(of, result, object, false);
}

static void pin(void) {
    operation *of = begin(GET, A, 0);
    firn_object *object;
    int result = firn_pin(world.cache, keys[A], KEY_SIZE, &object);
    got(of, result, object, false);
}

static void unpin(void) {
    int result = firn_unpin(world.cache, keys[A], KEY_SIZE);
    require(result == FIRN_OK || result == FIRN_NOT_FOUND, "an unpin failed");
}

static void add_weak(void) {
    firn_weak *another;
    require(firn_weak_new(world.cache, world.handles[0], &another) == FIRN_OK, "no weak reference");
    firn_weak_free(another);
}

/* ---- states to begin with ---- */

static void nothing(void) {
}

static void resident_a(void) {
    put(A, 1);
}

static void resident_both(void) {
    put(A, 1);
    put(B, 1);
}

static void held_a(void) {
    put(A, 1);
    get(A, true);
}

/* Only a handle has it. */
static void detached_a(void) {
    held_a();
    delete (A);
}

static void queued_a(void) {
    put(A, 1);
    evict();
}

static void stored_a(void) {
    queued_a();
    write();
}

/* In both tiers. */
static void clean_a(void) {
    stored_a();
    get(A, false);
}

static void make_weak(void) {
    firn_object *object;
    require(firn_get(world.cache, keys[A], KEY_SIZE, &object) == FIRN_OK, "a is not there");
    require(firn_weak_new(world.cache, object, &world.weak) == FIRN_OK, "no weak reference");
    firn_object_unref(object);
}

static void weak_a(void) {
    put(A, 1);
    make_weak();
}

static void weak_held_a(void) {
    held_a();
    make_weak();
}

static void weak_detached_a(void) {
    weak_held_a();
    delete (A);
}

static void weak_clean_a(void) {
    clean_a();
    make_weak();
}

/* Below, and held by a handle; so that the upgrade finds it alive and not indexed. */
static void weak_held_stored_a(void) {
    stored_a();
    get(A, true);
    make_weak();
    evict();
}

static void pinned_a(void) {
    put(A, 1);
    pin();
}

static void pinned_clean_a(void) {
    clean_a();
    pin();
}

static void deleted_a(void) {
    stored_a();
    delete (A);
}

static void stored_both(void) {
    resident_both();
    evict();
    write();
}

static void expired_a(void) {
    put_expired(A, 1);
}

static void expired_stored_a(void) {
    put_expired(A, 1);
    world.now_ms -= 1;
    evict();
    write();
    world.now_ms += 1;
}

/* What is evicted next is dropped. */
static void full_queue(void) {
    put_large(B, 1);
    evict();
    put(A, 1);
}

/* So that an older one lies below. */
static void full_queue_over_stored_a(void) {
    stored_a();
    put_large(B, 1);
    evict();
    put(A, 2);
}

/* In memory, and an older one below. */
static void newer_a(void) {
    put(A, 1);
    flush();
    put(A, 2);
}

static void flushed_a(void) {
    put(A, 1);
    flush();
}

static void failing_writes(void) {
    queued_a();
    doubles_fail_writes(true);
}

/* The table is as full as may be, so that the next put makes it grow; a is among the first to be
 * moved. */
static void full_table(void) {
    firn_table *table = &world.cache->hot->shards[0].table;
    char name[32];
    for (unsigned i = 0; firn_table_home_of(hash_of(A), 48) != 1; i++) {
        snprintf(name, sizeof name, "key%05u", i % 100000);
        memcpy(keys[A], name, KEY_SIZE);
    }
    put(A, 1);
    size_t buckets = firn_table_buckets(table);
    for (unsigned i = 0; table->count + 1 <= buckets * FIRN_TABLE_SLOTS / 64 * 55; i++) {
        snprintf(name, sizeof name, "full%04u", i % 10000);
        value made = {i, ~(uint64_t)i, 0};
        require(firn_put(world.cache, name, KEY_SIZE, &made, sizeof made, NULL) == FIRN_OK,
                "a put failed");
    }
    require(firn_table_buckets(table) == buckets, "the table grew too soon");
}

static void check_grown(void) {
    require(firn_table_buckets(&world.cache->hot->shards[0].table) > 48, "the table did not grow");
}

static void stored_a_journal_full(void) {
    stored_a();
    doubles_set_journal(1);
    put(B, 1); /* not below: no line */
    evict();
    write();
    delete (B); /* the one line */
}

/* ---- what has to be so in the end ---- */

static unsigned pinned_entries(void) {
    return (unsigned)firn_hot_total(world.cache->hot).pinned_entries;
}

static void check_pinned(void) {
    require(pinned_entries() == 1, "what was pinned is not");
    evict();
    require(firn_hot_total(world.cache->hot).resident_entries == 1, "what is pinned was evicted");
    unpin();
    require(pinned_entries() == 0, "it is pinned though the only pin went");
}

static void check_unpinned(void) {
    require(pinned_entries() == 0, "an entry is pinned that nobody pins");
}

/* Pins are handed on by an overwrite, and lost by a delete that came after. */
static void check_pins_whole(void) {
    if (pinned_entries() > 0) {
        unpin();
    }
    check_unpinned();
}

static void check_writes_again(void) {
    doubles_fail_writes(false);
}

/* All puts returned, so what is there is below too. */
static void check_written(void) {
    firn_object *object;
    require(firn_look(world.cache, keys[A], KEY_SIZE, &object) == FIRN_OK, "a is not there");
    require((firn_object_state(object) & (FIRN_STORED | FIRN_QUEUED)) == FIRN_STORED,
            "what was written through is not below");
    firn_object_unref(object);
}

/* The source changed before the entry did, so nothing is left of what it had before. */
static void check_loaded(void) {
    firn_object *object;
    int result = firn_get(world.cache, keys[A], KEY_SIZE, &object);
    require(result == FIRN_NOT_FOUND || (result == FIRN_OK && number_in(object) == 2),
            "what was loaded before a change was put after it");
    firn_object_unref(object);
    result = firn_delete(world.cache, keys[A], KEY_SIZE);
    require(result == FIRN_OK || result == FIRN_NOT_FOUND, "a delete failed");
}

/* ---- the scenarios ---- */

#define COLD .cold = true

static const scenario scenarios[] = {
    {"memory: get, evict, unref of the last handle", .setup = held_a,
     .bodies = {get_a, evict, unref}},
    {"memory: get, evict", .setup = resident_a, .bodies = {keep_a, evict}},
    {"memory: get, delete", .setup = resident_a, .bodies = {get_a_twice, delete_and_get_a}},
    {"memory: get, overwrite", .setup = resident_a, .bodies = {get_a_twice, put_and_get_a}},
    {"memory: get, overwrite, delete", .setup = resident_a, .bodies = {get_a, put_a, delete_a}},
    {"memory: two overwrites, get", .setup = resident_a, .bodies = {put_a, put_a_other, get_a}},
    {"memory: two adds", .setup = nothing, .bodies = {add_a, add_a_other}},
    {"memory: put, evict, get of another", .bound = 2, .setup = resident_both,
     .bodies = {put_a, evict, get_a}},
    {"memory: typed, get, delete, unref", .typed = true, .setup = held_a,
     .bodies = {get_a, delete_a, unref}},
    {"memory: typed, get, overwrite, evict", .typed = true, .bound = 2, .setup = resident_a,
     .bodies = {get_a, put_a, evict}},
    {"memory: unref of what was deleted, put", .reuse = true, .typed = true, .setup = detached_a,
     .bodies = {unref, put_a}},
    {"memory: get, delete and put in the same place", .reuse = true, .bound = 2,
     .setup = resident_a, .bodies = {get_a_twice, delete_a, put_a}},
    {"memory: get, evict, put, marks alone", .policy = "sieve", .bound = 2, .setup = resident_a,
     .bodies = {get_a, evict, put_a}},

    {"get from below, overwrite", COLD, .bound = 2, .setup = stored_a,
     .bodies = {get_a_twice, put_and_get_a}},
    {"get from below, delete", COLD, .setup = stored_a, .bodies = {get_a_twice, delete_and_get_a}},
    {"get from below, delete, write", COLD, .setup = stored_a, .bodies = {get_a, delete_a, write}},
    {"get from below, write of a delete", COLD, .setup = deleted_a, .bodies = {get_a_twice, write}},
    {"get from below, overwrite, evict and write", COLD, .bound = 2, .may_miss = true,
     .setup = stored_a, .bodies = {get_a, put_a, evict_and_write}},
    {"two gets from below", COLD, .setup = stored_a, .bodies = {keep_a, keep_a}},
    {"two gets from below, evict", COLD, .setup = stored_a, .bodies = {get_a, get_a, evict}},
    {"two gets from below, reclaim", COLD, .may_miss = true, .setup = stored_a,
     .bodies = {get_a, get_a, reclaim_a}},
    {"typed, two gets from below", COLD, .typed = true, .setup = stored_a,
     .bodies = {get_a, keep_a}},
    {"typed, get from below, overwrite", COLD, .typed = true, .setup = stored_a,
     .bodies = {get_a, put_a}},
    {"evict, get", COLD, .setup = resident_a, .bodies = {evict_and_write, get_a_twice}},
    {"write, get that admits again", COLD, .setup = queued_a, .bodies = {write, get_a_twice}},
    {"write, get, evict", COLD, .setup = queued_a, .bodies = {write, get_a, evict}},
    {"write, overwrite", COLD, .setup = queued_a, .bodies = {write_twice, put_and_get_a}},
    {"write, delete", COLD, .setup = queued_a, .bodies = {write_twice, delete_and_get_a}},
    {"write, overwrite, get", COLD, .setup = queued_a, .bodies = {write, put_a, get_a}},
    {"typed, write, overwrite", COLD, .typed = true, .setup = queued_a, .bodies = {write, put_a}},
    {"typed, write, delete, get", COLD, .typed = true, .setup = queued_a,
     .bodies = {write, delete_a, get_a}},
    {"two writers", COLD, .setup = queued_a, .bodies = {write, write}},
    {"reclaim, evict", COLD, .setup = clean_a, .bodies = {reclaim_a, evict_and_write}},
    {"reclaim, get", COLD, .setup = stored_a, .bodies = {reclaim_a, get_a_twice}},
    {"reclaim, evict, get", COLD, .setup = clean_a, .bodies = {reclaim_a, evict, get_a}},
    {"reclaim, overwrite", COLD, .setup = clean_a, .bodies = {reclaim_a, put_and_get_a}},
    {"put, delete, evict and write", COLD, .setup = nothing,
     .bodies = {put_a, delete_a, evict_and_write}},
    {"add, delete, stored", COLD, .setup = stored_a, .bodies = {add_a, delete_and_get_a}},
    {"add, evict and write", COLD, .setup = clean_a, .bodies = {add_a, evict_and_write}},
    {"write through, get", COLD, .write_mode = FIRN_WRITE_THROUGH, .bound = 2, .setup = clean_a,
     .bodies = {put_and_get_a, get_a_twice}, .check = check_written},
    {"write through, two puts", COLD, .write_mode = FIRN_WRITE_THROUGH, .setup = nothing,
     .bodies = {put_a, put_a_other}, .check = check_written},
    {"flush, overwrite", COLD, .setup = resident_a, .bodies = {flush, put_a}},
    {"flush, reclaim, evict", COLD, .setup = clean_a, .bodies = {flush, reclaim_a, evict}},
    {"flush, evict", COLD, .setup = resident_a, .bodies = {flush, evict}},
    {"the journal is full", COLD, .setup = stored_a_journal_full, .bodies = {put_a, get_a}},

    {"the queue is full, get", COLD, .backpressure = FIRN_BACKPRESSURE_DROP, .setup = full_queue,
     .bodies = {evict, get_a_twice}},
    {"the queue is full, overwrite, get", COLD, .bound = 2, .backpressure = FIRN_BACKPRESSURE_DROP,
     .setup = full_queue_over_stored_a, .bodies = {evict, put_a_other, get_a}},
    {"refused below, get", COLD, .refuses = true, .setup = resident_a,
     .bodies = {evict, get_a_twice}},
    {"refused below over an older one, get, write", COLD, .bound = 2, .refuses = true,
     .setup = newer_a, .bodies = {evict, get_a_twice, write}},
    {"refused below over an older one, overwrite, get", COLD, .bound = 2, .refuses = true,
     .setup = newer_a, .bodies = {evict, put_a_other, get_a}},
    {"refused below, reclaim, get", COLD, .bound = 2, .refuses = true, .setup = flushed_a,
     .bodies = {reclaim_a, evict, get_a}},
    {"refused below, flush, overwrite", COLD, .bound = 2, .refuses = true, .setup = resident_a,
     .bodies = {flush, put_and_get_a, evict}},
    {"refused below, delete, write", COLD, .bound = 2, .refuses = true, .setup = newer_a,
     .bodies = {evict, delete_and_get_a, write}},
    {"refused below, pin", COLD, .bound = 2, .refuses = true, .setup = resident_a,
     .bodies = {pin, evict}},
    {"refused below after an overwrite, pin", COLD, .bound = 2, .refuses = true,
     .setup = resident_a, .bodies = {pin, put_a_and_evict}},
    {"writes fail, overwrite", COLD, .setup = failing_writes, .bodies = {write, put_and_get_a},
     .check = check_writes_again},
    {"writes fail, delete, get", COLD, .setup = failing_writes, .bodies = {write, delete_a, get_a},
     .check = check_writes_again},
    {"many from below, overwrite, evict", COLD, .setup = stored_both,
     .bodies = {get_many, put_a, evict}, .bound = 2},
    {"many from below, delete", COLD, .setup = stored_both, .bodies = {get_many, delete_and_get_a}},
    {"memory: clear, get, sweep", .bound = 2, .setup = resident_a,
     .bodies = {clear_and_get_a, get_a, sweep}},
    {"memory: clear, overwrite, sweep", .bound = 2, .setup = resident_a,
     .bodies = {clear_all, put_and_get_a, sweep}},
    {"clear, get from below, sweep", COLD, .bound = 2, .setup = stored_a,
     .bodies = {clear_and_get_a, get_a_twice, sweep}},
    {"clear, write, get", COLD, .bound = 2, .setup = queued_a,
     .bodies = {clear_and_get_a, write, get_a}},
    {"clear, evict and write, sweep", COLD, .bound = 2, .setup = resident_a,
     .bodies = {clear_and_get_a, evict_and_write, sweep}},
    {"clear, overwrite, evict and write", COLD, .bound = 2, .setup = clean_a,
     .bodies = {clear_and_get_a, put_and_get_a, evict_and_write}},
    {"memory: load, delete", .setup = nothing, .bodies = {load_a, change_and_delete_a},
     .check = check_loaded},
    {"memory: load, clear", .setup = nothing, .bodies = {load_a, change_and_clear},
     .check = check_loaded},
    {"memory: load, overwrite, evict", .bound = 2, .setup = nothing,
     .bodies = {load_a, change_and_put_a, evict}, .check = check_loaded},
    {"load, delete, evict and write", COLD, .bound = 2, .setup = nothing,
     .bodies = {load_a, change_and_delete_a, evict_and_write}, .check = check_loaded},
    {"load, clear, evict and write", COLD, .bound = 2, .setup = nothing,
     .bodies = {load_a, change_and_clear, evict_and_write}, .check = check_loaded},
    {"memory: expired, get, overwrite", .setup = expired_a, .bodies = {get_a_twice, put_a}},
    {"memory: expired, two gets", .setup = expired_a, .bodies = {get_a, get_a}},
    {"expired, get, overwrite, write", COLD, .setup = expired_a, .bodies = {get_a, put_a, write}},
    {"expired below, get, overwrite", COLD, .setup = expired_stored_a,
     .bodies = {get_a_twice, put_a}},
    {"memory: the table grows, get", .setup = full_table, .bodies = {put_b, get_a},
     .check = check_grown},
    {"memory: the table grows, overwrite, get", .setup = full_table,
     .bodies = {put_b, put_a, get_a}, .check = check_grown, .bound = 2},

    {"memory: weak upgrade, last unref", .setup = weak_detached_a, .bodies = {upgrade, unref}},
    {"memory: weak upgrade, last unref, delete", .setup = weak_held_a,
     .bodies = {upgrade, unref, delete_a}},
    {"memory: weak upgrade, evict, overwrite", .bound = 2, .setup = weak_a,
     .bodies = {upgrade, evict, put_a}},
    {"memory: weak upgrade, delete, put in the same place", .reuse = true, .bound = 2,
     .setup = weak_a, .bodies = {upgrade, delete_a, put_a}},
    {"memory: typed, weak upgrade, last unref", .typed = true, .setup = weak_detached_a,
     .bodies = {upgrade, unref}},
    {"memory: a second weak reference, last unref of another", .setup = weak_held_a,
     .bodies = {add_weak, upgrade, delete_a}},
    {"weak upgrade, last unref, delete", COLD, .setup = weak_held_stored_a,
     .bodies = {upgrade, unref, delete_a}},
    {"weak upgrade, evict, overwrite", COLD, .bound = 2, .setup = weak_clean_a,
     .bodies = {upgrade, evict, put_a}},
    {"weak upgrade, get", COLD, .setup = weak_held_stored_a, .bodies = {upgrade, get_a}},
    {"two weak upgrades", COLD, .setup = weak_held_stored_a, .bodies = {upgrade, upgrade}},
    {"weak upgrade, overwrite", COLD, .setup = weak_held_stored_a,
     .bodies = {upgrade, put_and_get_a}},
    {"weak upgrade, delete, write", COLD, .setup = weak_held_stored_a,
     .bodies = {upgrade, delete_a, write}},
    {"weak upgrade, overwrite, evict and write", COLD, .bound = 2, .may_miss = true,
     .setup = weak_held_stored_a, .bodies = {upgrade, put_a, evict_and_write}},
    {"two weak upgrades, evict", COLD, .bound = 2, .setup = weak_held_stored_a,
     .bodies = {upgrade, upgrade, evict}},
    {"typed, weak upgrade, last unref, evict", COLD, .typed = true, .setup = weak_held_stored_a,
     .bodies = {upgrade, unref, evict}},
    {"weak upgrade, reclaim", COLD, .setup = weak_held_stored_a, .bodies = {upgrade, reclaim_a}},

    {"memory: pin, evict", .setup = resident_a, .bodies = {pin, evict}},
    {"memory: unpin, delete", .setup = pinned_a, .bodies = {unpin, delete_a},
     .check = check_unpinned},
    {"memory: unpin, evict, get", .setup = pinned_a, .bodies = {unpin, evict, get_a},
     .check = check_unpinned},
    {"memory: pin, overwrite", .setup = resident_a, .bodies = {pin, put_a}, .check = check_pinned},
    {"pin, evict", COLD, .setup = stored_a, .bodies = {pin, evict_and_write},
     .check = check_pinned},
    {"pin, write", COLD, .setup = queued_a, .bodies = {pin, write}, .check = check_pinned},
    {"pin, delete", COLD, .setup = clean_a, .bodies = {pin, delete_a}, .check = check_pins_whole},
    {"pin from below, delete, write", COLD, .bound = 2, .setup = stored_a,
     .bodies = {pin, delete_a, write}, .check = check_pins_whole},
    {"pin from below, overwrite, evict and write", COLD, .bound = 2, .may_miss = true,
     .setup = stored_a, .bodies = {pin, put_a, evict_and_write}, .check = check_pins_whole},
    {"two pins from below, evict", COLD, .bound = 2, .setup = stored_a,
     .bodies = {pin, pin, evict}},
    {"pin, write, evict", COLD, .bound = 2, .setup = queued_a, .bodies = {pin, write, evict},
     .check = check_pinned},
    {"pin, reclaim, evict", COLD, .setup = clean_a, .bodies = {pin, reclaim_a, evict}},
    {"unpin, overwrite, evict", COLD, .setup = pinned_clean_a, .bodies = {unpin, put_a, evict},
     .check = check_unpinned},
    {"unpin, reclaim", COLD, .setup = pinned_clean_a, .bodies = {unpin, reclaim_a},
     .check = check_unpinned},
};

enum { SCENARIOS = sizeof scenarios / sizeof scenarios[0] };

/* ---- the oracle ---- */

static uint64_t counted(enum firn_event event) {
    return firn_counted(world.cache->counters, event);
}

/* Entries that may be missing. */
static unsigned losses(void) {
    uint64_t lost = counted(FIRN_EVENT_DROPPED_MEMORY_ONLY) +
                    counted(FIRN_EVENT_DROPPED_BACKPRESSURE) +
                    counted(FIRN_EVENT_DEMOTION_REFUSED) + counted(FIRN_EVENT_DROPPED_TOO_LARGE) +
                    counted(FIRN_EVENT_DROPPED_UNENCODED);
    if (world.cache->cold != NULL) {
        firn_cold_stats stats;
        firn_cold_get_stats(world.cache->cold, &stats);
        lost += stats.reclaimed - counted(FIRN_EVENT_RECLAIMED_HOT);
    }
    return (unsigned)lost;
}

/* Whether the operation can come next. state: the value of each key, 0: none. */
static bool explains(const operation *of, uint64_t *state, unsigned *lost) {
    uint64_t *at = &state[of->key];
    bool present = *at != 0;
    switch (of->kind) {
    case PUT:
        *at = of->value;
        return true;
    case GET:
        if (of->result == FIRN_OK) {
            return *at == of->value;
        }
        break;
    case ADD:
        if (of->result == FIRN_EXISTS) {
            return present;
        }
        break;
    case CLEAR:
        state[A] = state[B] = 0;
        return true;
    case DELETE:
        if (of->result == FIRN_OK) {
            *at = 0;
            return present;
        }
        break;
    }
    /* It found nothing. */
    if (present && of->kind == GET && of->thread != MODEL_THREADS_MAX && world.scenario->may_miss) {
        return true;
    }
    *lost += present ? 1 : 0;
    *at = of->kind == ADD ? of->value : 0;
    return true;
}

/* Whether what was not done yet can be put into an order that begins here. */
static bool can_be_ordered(unsigned done, const uint64_t *state, unsigned lost, unsigned lost_max) {
    if (done == (1u << world.count) - 1) {
        return true;
    }
    uint64_t first_end = UINT64_MAX;
    for (unsigned i = 0; i < world.count; i++) {
        if ((done >> i & 1) == 0 && world.operations[i].ended < first_end) {
            first_end = world.operations[i].ended;
        }
    }
    for (unsigned i = 0; i < world.count; i++) {
        const operation *of = &world.operations[i];
        if ((done >> i & 1) != 0 || of->began > first_end) {
            continue;
        }
        uint64_t after[KEYS];
        unsigned lost_after = lost;
        memcpy(after, state, sizeof after);
        if (explains(of, after, &lost_after) && lost_after <= lost_max &&
            can_be_ordered(done | 1u << i, after, lost_after, lost_max)) {
            return true;
        }
    }
    return false;
}

static void tell_operations(char *text, size_t size) {
    static const char *const names[] = {"get", "put", "add", "delete", "clear"};
    size_t at = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < world.count && at < size; i++) {
        const operation *of = &world.operations[i];
        at += (size_t)snprintf(text + at, size - at, "%s%s %c = %llu: %d [%llu, %llu]",
                               i > 0 ? "; " : "", names[of->kind], "ab"[of->key],
                               (unsigned long long)of -> value, of -> result,
                               (unsigned long long)of -> began, (unsigned long long)of -> ended);
    }
}

static void check_order(void) {
    uint64_t state[KEYS] = {0};
    if (!can_be_ordered(0, state, 0, losses())) {
        char text[400];
        tell_operations(text, sizeof text);
        model_fail("no order explains, with %u losses counted: %s", losses(), text);
    }
}

typedef struct sums {
    firn_hot_totals totals;
    unsigned indexed;
} sums;

static void count_object(void *context, firn_object *object) {
    sums *to = context;
    unsigned state = firn_object_state(object);
    uint64_t size = firn_object_charge(object);
    require((state & FIRN_INDEXED) != 0, "the table has what says that it is not indexed");
    to->indexed++;
    to->totals.held_bytes += size;
    if ((state & FIRN_RESIDENT) != 0) {
        to->totals.resident_entries++;
        to->totals.resident_bytes += size;
    }
    if ((state & FIRN_PINNED) != 0) {
        require((state & FIRN_RESIDENT) != 0, "what is pinned is not resident");
        to->totals.pinned_entries++;
        to->totals.pinned_bytes += size;
    }
}

static void check_accounts(void) {
    sums sum = {.indexed = 0};
    size_t position = 0;
    firn_hot *hot = world.cache->hot;
    firn_hot_shard *shard = firn_hot_lock_number(hot, 0);
    while (!firn_hot_sweep_locked(shard, &position, count_object, &sum)) {
    }
    require(shard->table.count == sum.indexed, "the table's count of entries is wrong");
    firn_hot_unlock(shard);
    firn_object *queued[HANDLES_MAX];
    uint64_t queued_bytes = 0;
    size_t waiting = firn_queue_peek(&world.cache->queue, HANDLES_MAX, SIZE_MAX, queued);
    for (size_t i = 0; i < waiting; i++) {
        require((firn_object_state(queued[i]) & FIRN_QUEUED) != 0,
                "the queue has what is not queued");
        queued_bytes += firn_object_charge(queued[i]);
        if ((firn_object_state(queued[i]) & FIRN_INDEXED) == 0) {
            sum.totals.held_bytes += firn_object_charge(queued[i]);
        }
    }
    firn_queue_state state = firn_queue_look(&world.cache->queue);
    require(state.entries == waiting && state.bytes == queued_bytes &&
                world.cache->queue.reserved == 0,
            "the queue's accounts are wrong");
    firn_hot_totals totals = firn_hot_total(hot);
    require(totals.resident_entries == sum.totals.resident_entries &&
                totals.resident_bytes == sum.totals.resident_bytes + totals.overhead_bytes,
            "the account of residents is wrong");
    require(totals.held_bytes == sum.totals.held_bytes + totals.overhead_bytes,
            "the account of what is held is wrong");
    require(totals.pinned_entries == sum.totals.pinned_entries &&
                totals.pinned_bytes == sum.totals.pinned_bytes,
            "the account of pins is wrong");
    require(firn_hot_resident_bytes(hot) == totals.resident_bytes &&
                firn_hot_held_bytes(hot) == totals.held_bytes,
            "the tier's gauges are wrong");
}

/* The count of an object that is not in the table is what holds it. */
static void check_references(void) {
    for (unsigned i = 0; i < world.held; i++) {
        const firn_object *object = world.handles[i];
        unsigned state = firn_object_state(object);
        require(number_in(object) == world.handle_values[i],
                "an object changed while a handle held it");
        uint32_t expected = (state & FIRN_QUEUED) != 0 ? 1 : 0;
        for (unsigned j = 0; j < world.held; j++) {
            expected += world.handles[j] == object ? 1 : 0;
        }
        require((state & FIRN_INDEXED) != 0 || object->entry.refs == expected,
                "a count of references is wrong");
    }
}

/* With the cache closed. */
static void check_stored(const uint64_t *hashes, const uint64_t *expected) {
    for (unsigned key = 0; key < KEYS; key++) {
        size_t size;
        const void *bytes = doubles_stored(hashes[key], &size);
        value found = {0};
        if (bytes != NULL) {
            memcpy(&found, bytes, 2 * sizeof(uint64_t));
        }
        require(found.number == expected[key], "the store has another value than the cache had");
    }
}

static void check_memory(void) {
    require(doubles_pool_blocks() == 0, "an object was not freed");
    require(doubles_heap_bytes() == 0, "memory was not freed");
    for (unsigned i = 0; i < world.instances; i++) {
        require(world.dropped[i] == 1, "a value was not dropped");
    }
}

/* ---- a run ---- */

static uint64_t clock_now(void *context) {
    (void)context;
    return world.now_ms;
}

static void open_cache(void) {
    firn_options options = FIRN_OPTIONS_INIT;
    const scenario *of = world.scenario;
    options.hot_bytes = HOT_BYTES;
    options.curve_bytes = FIRN_CURVE_OFF;
    options.shards = 1;
    options.threads = 0;
    options.durability = FIRN_DURABILITY_NONE;
    options.write_mode = of->write_mode;
    options.backpressure = of->backpressure;
    options.demotion_ops = of->refuses ? &never : NULL;
    options.hot_policy = of->policy;
    options.allocator = doubles_allocator();
    options.clock.now_ms = clock_now;
    require(firn_open(&world.cache, of->cold ? "double" : NULL, &options) == FIRN_OK,
            "the cache did not open");
    require(!of->typed || firn_register_type(world.cache, &type) == FIRN_OK,
            "the type was not registered");
}

static void begin_run(void *context) {
    const scenario *of = context;
    memset(&world, 0, sizeof world);
    world.scenario = of;
    world.now_ms = 1000000;
    memcpy(keys[A], "key-aaaa", KEY_SIZE);
    doubles_reset(of->reuse);
    open_cache();
    of->setup();
}

static void run_body(void *context, unsigned thread) {
    const scenario *of = context;
    of->bodies[thread]();
}

static void end_run(void *context) {
    const scenario *of = context;
    check_accounts();
    check_references();
    if (of->check != NULL) {
        of->check();
    }
    uint64_t expected[KEYS];
    uint64_t hashes[KEYS];
    for (enum key key = A; key < KEYS; key++) {
        get(key, false);
        const operation *last = &world.operations[world.count - 1];
        expected[key] = last->result == FIRN_OK ? last->value : 0;
        hashes[key] = hash_of(key);
    }
    check_order();
    check_accounts();
    bool cold = world.cache->cold != NULL;
    if (world.held % 2 == 0) { /* handles and weak references may go first or last */
        firn_weak_free(world.weak);
        world.weak = NULL;
    }
    require(firn_close(world.cache) == FIRN_OK, "the close failed");
    if (cold) {
        check_stored(hashes, expected);
    }
    while (world.held > 0) {
        unref_last();
    }
    firn_weak_free(world.weak);
    check_memory();
}

static void reset_run(void *context) {
    (void)context;
}

static unsigned threads_of(const scenario *of) {
    unsigned threads = 0;
    while (threads < MODEL_THREADS_MAX && of->bodies[threads] != NULL) {
        threads++;
    }
    return threads;
}

/* Sizes lie in words whose other bits are a policy's links. */
static const char *const quiet[] = {"firn_object_key_size", "firn_object_value_size",
                                    "firn_object_plain_has_key", "bump_all", NULL};

static void settings_for(const scenario *of, model_settings *settings) {
    const char *asked = getenv("FIRN_MODEL_BOUND");
    bool bounded = asked != NULL ? strcmp(asked, "none") != 0 : of->bound > 0;
    *settings = (model_settings){
        .mode = bounded ? MODEL_BOUNDED : MODEL_REDUCED,
        .bound = asked != NULL ? (unsigned)strtoul(asked, NULL, 10) : of->bound,
        .runs_max = asked != NULL ? 0 : RUNS_MAX,
    };
}

static void explore(const scenario *of, const model_settings *settings, model_result *result) {
    model_scenario runs = {threads_of(of), begin_run, run_body,
                           end_run,        reset_run, (void *)(uintptr_t)of};
    model_quiet_functions = quiet;
    model_explore(&runs, settings, result);
    if (getenv("FIRN_MODEL_VERBOSE") != NULL || result->failure[0] != '\0') {
        char bound[32] = "all schedules";
        if (settings->mode == MODEL_BOUNDED) {
            snprintf(bound, sizeof bound, "up to %u preemptions", settings->bound);
        }
        printf("%-55s %8llu runs, %8llu given up, %4u steps: %s%s\n", of->name,
               (unsigned long long)result->runs, (unsigned long long)result->abandoned,
               result->longest, bound,
               result->complete             ? ""
               : result->failure[0] != '\0' ? ", FAILED"
                                            : ", NOT COMPLETE");
        fflush(stdout);
    }
}

START_TEST(scenario_holds) {
    const scenario *of = &scenarios[_i];
    model_settings settings;
    model_result result;
    settings_for(of, &settings);
    explore(of, &settings, &result);
    ck_assert_msg(result.failure[0] == '\0', "%s: %s\n  test_interleave '%s' --schedule %s",
                  of->name, result.failure, of->name, result.schedule);
    ck_assert_msg(result.complete, "%s: more than %d runs", of->name, RUNS_MAX);
}
END_TEST

static void add_tests(TCase *tcase) {
    tcase_add_loop_test(tcase, scenario_holds, 0, SCENARIOS);
}

/* ---- by hand ---- */

static int run_by_hand(int count, char **arguments) {
    bool failed = false;
    for (unsigned i = 0; i < SCENARIOS; i++) {
        const scenario *of = &scenarios[i];
        if (strstr(of->name, arguments[1]) == NULL ||
            (count > 2 && strcmp(arguments[2], "--schedule") == 0 &&
             strcmp(of->name, arguments[1]) != 0)) {
            continue;
        }
        model_settings settings;
        model_result result;
        settings_for(of, &settings);
        if (count > 3 && strcmp(arguments[2], "--schedule") == 0) {
            settings.schedule = arguments[3];
        } else if (count > 3 && strcmp(arguments[2], "--bound") == 0) {
            settings.mode = MODEL_BOUNDED;
            settings.bound = (unsigned)strtoul(arguments[3], NULL, 10);
        }
        explore(of, &settings, &result);
        if (result.failure[0] != '\0') {
            failed = true;
            printf("%s: %s\n  --schedule %s\n", of->name, result.failure, result.schedule);
        }
    }
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int count, char **arguments) {
    if (count > 1) {
        setenv("FIRN_MODEL_VERBOSE", "1", 1);
        return run_by_hand(count, arguments);
    }
    return run_suite("interleave", add_tests, 600);
}
