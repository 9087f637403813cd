/* See collect.h.
 *
 * A round takes the objects that the domain lists, the candidates: live values that visit, of
 * objects that are not indexed. It takes a reference to each, so none of them is dropped while it
 * is looked at, and what a value holds does not change. Then
 *
 *   COUNT   it counts for each candidate how many references other candidates hold to it;
 *   JUDGE   who has more references than those (and the collector's) is held from outside: it and
 *           all that can be reached from it are alive. The rest are suspects;
 *   FREEZE  it sets FIRN_OBJECT_FROZEN in the count of each suspect, if the count is just what it
 *           was reckoned to be. If not: alive, and all that can be reached from it;
 *   CHECK   when all are frozen, it looks at each again: the bit must still be there. If not:
 * alive; SEAL    with upgrades of weak references locked out it looks a last time at those that
 * weak references know, and makes these forget them; DROP    the values of what is left are
 * dropped, one by one.
 *
 * Why nobody can have or get a reference to what is left. Call the references that values of the
 * frozen do not account for handles. A new handle to an object can only be made by one who has a
 * handle to it, or one to an object whose value holds it, or who upgrades a weak reference (or
 * finds it by key: but what is indexed is not frozen, and who indexes it has a handle). Whoever
 * takes a reference to a frozen object clears the bit before he goes on, and the bit never comes
 * back.
 *
 * Let R be what passed CHECK. It is closed: whatever holds a member is a member, for all that can
 * be reached from what is alive was taken out. When a member was frozen its count was exact, so
 * there was no handle to it at that moment; of those that there had been, each was dropped before,
 * with release, and the freezing acquires. Suppose that a handle had been made since, without an
 * upgrade. Go back from it along the handles by which each was made, to the first, h: one to a
 * member r that had been there before r was frozen. So it was dropped before that, and the next of
 * the chain, to a member q, made before that too: hence before q was frozen, in which case the same
 * goes for it as for h; or after, in which case the bit of q was cleared before h was dropped, h
 * was dropped before r was frozen, and r was frozen before q was checked: q had not passed. So the
 * chain has no end, and there is no such handle.
 *
 * There remain upgrades. Whoever upgrades clears the bit of a watched member, under a lock that
 * SEAL takes. Either SEAL sees that, and takes the object out with all that can be reached from it,
 * which is all that he could have come to; or he comes later, and finds nothing. An object that was
 * not watched when it was checked is not watched later, for it takes a handle to watch it.
 *
 * An object that is alive may be found to be garbage by the next round only; one that is taken for
 * alive by mistake, say because somebody looked at it for a moment, likewise. */
#include "object/collect.h"

#include <string.h>

#include "base/clock.h"
#include "object/drops.h"
#include "object/watch.h"

enum {
    CHUNK_SHIFT = 12,
    CHUNK = 1 << CHUNK_SHIFT, /* candidates */
    GATHER_AT_ONCE = 32,      /* while a list is locked */
    UNTIL_CLOCK = 16,         /* candidates between two looks at the clock */
    FIRST_WATCHED = 256,
    PAGE_SHIFT = 12,
    PAGE = 1 << PAGE_SHIFT, /* places */
};

#define COUNT_MAX ((UINT32_C(1) << 30) - 1)

/* What is known of a candidate. */
enum { SUSPECT, FROZEN, ALIVE };

struct firn_candidate {
    firn_object *object;
    uint32_t internal; /* references that candidates hold */
    uint32_t fate : 2;
    uint32_t link : 30; /* the next of those that are alive and to be visited, and 1 */
};

static void add(_Atomic uint64_t *statistic, uint64_t amount) {
    uint64_t before = atomic_load_explicit(statistic, memory_order_relaxed);
    atomic_store_explicit(statistic, before + amount, memory_order_relaxed);
}

static firn_heap *heap_of(const firn_collector *self) {
    return self->domain->heap;
}

static firn_candidate *candidate_at(const firn_collector *self, uint32_t number) {
    return &self->chunks[number >> CHUNK_SHIFT][number & (CHUNK - 1)];
}

static uint32_t count_of(const firn_object *object) {
    /* Acquire: see above. */
    return atomic_load_explicit(&object->entry.refs, memory_order_acquire);
}

/* ---- which there are ---- */

/* Room for at least one more. */
static int make_room(firn_collector *self) {
    if ((self->count & (CHUNK - 1)) != 0 || self->count >> CHUNK_SHIFT < self->chunk_count) {
        return FIRN_OK;
    }
    if (self->chunk_count == self->chunk_room) {
        uint32_t room = self->chunk_room > 0 ? self->chunk_room * 2 : 64;
        firn_candidate **grown = firn_heap_alloc(heap_of(self), room * sizeof *grown);
        if (grown == NULL) {
            return FIRN_ENOMEM;
        }
        if (self->chunk_count > 0) {
            memcpy(grown, self->chunks, self->chunk_count * sizeof *grown);
        }
        firn_heap_free(heap_of(self), self->chunks, self->chunk_room * sizeof *grown);
        self->chunks = grown;
        self->chunk_room = room;
    }
    firn_candidate *chunk = firn_heap_alloc(heap_of(self), CHUNK * sizeof *chunk);
    if (chunk == NULL) {
        return FIRN_ENOMEM;
    }
    self->chunks[self->chunk_count++] = chunk;
    return FIRN_OK;
}

/* The list is locked, so the object's memory is there: it leaves the list, by the same lock, before
 * it is freed. If its count has come to 0 it is on its way. */
static void take(void *context, firn_object *object) {
    firn_collector *self = context;
    if (firn_object_try_ref(object)) {
        *candidate_at(self, self->count++) = (firn_candidate){.object = object};
    }
}

/* Some of the next list. */
static void gather(firn_collector *self) {
    firn_holder_list *list = &self->domain->holders[self->list];
    if (atomic_load_explicit(&list->count, memory_order_relaxed) == 0 && !self->mark.rich.listed) {
        self->list++;
        return;
    }
    self->failed = make_room(self);
    if (self->failed != FIRN_OK) {
        return;
    }
    uint32_t room = CHUNK - (self->count & (CHUNK - 1));
    unsigned most = room < GATHER_AT_ONCE ? room : GATHER_AT_ONCE;
    if (self->count > COUNT_MAX - CHUNK) {
        self->list = FIRN_HOLDER_LISTS; /* the others count as held from outside */
    } else if (firn_domain_walk_holders(list, &self->mark, most, take, self)) {
        self->list++;
    }
}

/* Room for the pages of places, which are made one by one. */
static int plan_places(firn_collector *self) {
    self->place_count = PAGE;
    while (self->place_count < self->count * UINT64_C(2)) {
        self->place_count *= 2;
    }
    self->page_room = (uint32_t)(self->place_count >> PAGE_SHIFT);
    self->pages = firn_heap_alloc(heap_of(self), self->page_room * sizeof *self->pages);
    return self->pages != NULL ? FIRN_OK : FIRN_ENOMEM;
}

static int make_page(firn_collector *self) {
    uint32_t *page = firn_heap_zalloc(heap_of(self), PAGE * sizeof *page);
    if (page == NULL) {
        return FIRN_ENOMEM;
    }
    self->pages[self->page_count++] = page;
    return FIRN_OK;
}

/* The place of the object, or the one it would have. */
static uint32_t *place_of(const firn_collector *self, const firn_object *object) {
    uint64_t mixed = ((uint64_t)(uintptr_t)object >> 4) * UINT64_C(0x9e3779b97f4a7c15);
    for (uint64_t at = mixed >> 32;; at++) {
        uint64_t number = at & (self->place_count - 1);
        uint32_t *place = &self->pages[number >> PAGE_SHIFT][number & (PAGE - 1)];
        if (*place == 0 || candidate_at(self, *place - 1)->object == object) {
            return place;
        }
    }
}

static void index_one(firn_collector *self, uint32_t number) {
    *place_of(self, candidate_at(self, number)->object) = number + 1;
}

/* Its number and 1; 0: it is none. */
static uint32_t find(const firn_collector *self, const firn_object *object) {
    return *place_of(self, object);
}

static void visit(firn_collector *self, const firn_candidate *candidate, firn_visitor visitor) {
    const firn_object *object = candidate->object;
    const firn_type *type = firn_object_rich_of(object)->type;
    type->visit(type->context, firn_object_data(object), firn_object_value_size(object), visitor,
                self);
}

/* ---- who is alive ---- */

static void count_held(void *context, firn_object *held) {
    firn_collector *self = context;
    uint32_t found = held != NULL ? find(self, held) : 0;
    if (found != 0) {
        candidate_at(self, found - 1)->internal++;
    }
}

/* Somebody holds it. What can be reached from it is seen to by and by. */
static void note_alive(firn_collector *self, uint32_t number) {
    firn_candidate *candidate = candidate_at(self, number);
    if (candidate->fate == FROZEN) {
        firn_object_thaw(candidate->object);
    }
    candidate->fate = ALIVE;
    candidate->link = self->alive & COUNT_MAX;
    self->alive = number + 1;
}

static void note_reached(void *context, firn_object *held) {
    firn_collector *self = context;
    uint32_t found = held != NULL ? find(self, held) : 0;
    if (found != 0 && candidate_at(self, found - 1)->fate != ALIVE) {
        note_alive(self, found - 1);
    }
}

static void spread(firn_collector *self) {
    const firn_candidate *candidate = candidate_at(self, self->alive - 1);
    self->alive = candidate->link;
    visit(self, candidate, note_reached);
}

/* A number that is not what it should be, in whichever way, means that we know too little. */
static void judge(firn_collector *self, uint32_t number) {
    const firn_candidate *candidate = candidate_at(self, number);
    if (candidate->fate != ALIVE && count_of(candidate->object) != candidate->internal + 1) {
        note_alive(self, number);
    }
}

static void freeze(firn_collector *self, uint32_t number) {
    firn_candidate *candidate = candidate_at(self, number);
    uint32_t expected = candidate->internal + 1;
    if (candidate->fate == ALIVE) {
        return;
    }
    if (atomic_compare_exchange_strong_explicit(&candidate->object->entry.refs, &expected,
                                                expected | FIRN_OBJECT_FROZEN, memory_order_acq_rel,
                                                memory_order_relaxed)) {
        candidate->fate = FROZEN;
    } else {
        note_alive(self, number);
    }
}

static bool is_frozen(const firn_candidate *candidate) {
    return count_of(candidate->object) == ((candidate->internal + 1) | FIRN_OBJECT_FROZEN);
}

static int note_watched(firn_collector *self, uint32_t number) {
    if (self->watched_count == self->watched_room) {
        uint32_t room = self->watched_room > 0 ? self->watched_room * 2 : FIRST_WATCHED;
        uint32_t *grown = firn_heap_alloc(heap_of(self), room * sizeof *grown);
        if (grown == NULL) {
            return FIRN_ENOMEM;
        }
        if (self->watched_count > 0) {
            memcpy(grown, self->watched, self->watched_count * sizeof *grown);
        }
        firn_heap_free(heap_of(self), self->watched, self->watched_room * sizeof *grown);
        self->watched = grown;
        self->watched_room = room;
    }
    self->watched[self->watched_count++] = number;
    return FIRN_OK;
}

static void check(firn_collector *self, uint32_t number) {
    const firn_candidate *candidate = candidate_at(self, number);
    if (candidate->fate != FROZEN) {
        return;
    }
    if (!is_frozen(candidate)) {
        note_alive(self, number);
    } else if ((firn_object_state(candidate->object) & FIRN_WATCHED) != 0) {
        self->failed = note_watched(self, number);
    }
}

/* True: nobody upgraded any of them, and nobody will. */
static bool seal(firn_collector *self) {
    if (self->watched_count == 0) {
        return true;
    }
    firn_watch_lock_all(self->domain);
    for (uint32_t i = 0; i < self->watched_count; i++) {
        const firn_candidate *candidate = candidate_at(self, self->watched[i]);
        if (candidate->fate == FROZEN && !is_frozen(candidate)) {
            note_alive(self, self->watched[i]);
        }
    }
    for (uint32_t i = 0; i < self->watched_count && self->alive == 0; i++) {
        const firn_candidate *candidate = candidate_at(self, self->watched[i]);
        if (candidate->fate == FROZEN) {
            firn_watch_forget_locked(candidate->object);
        }
    }
    firn_watch_unlock_all(self->domain);
    return self->alive == 0;
}

/* ---- the end of it ---- */

/* All keep their memory until all values are dropped, by our references: a value may be dropped
 * after one that it holds. */
static void drop(firn_collector *self, uint32_t number) {
    const firn_candidate *candidate = candidate_at(self, number);
    if (candidate->fate != FROZEN) {
        return;
    }
    add(&self->objects, 1);
    add(&self->bytes, firn_object_charge(candidate->object));
    firn_domain_remove_holder(candidate->object);
    firn_drops_now(candidate->object);
}

static void release(firn_collector *self, uint32_t number) {
    const firn_candidate *candidate = candidate_at(self, number);
    if (candidate->fate == FROZEN) {
        firn_object_thaw(candidate->object);
    }
    firn_object_unref(candidate->object);
}

/* Memory goes back in pieces too: much of it at once takes the system its time. True: all has. */
static bool clear_some(firn_collector *self) {
    firn_heap *heap = heap_of(self);
    if (self->chunk_count > 0) {
        firn_heap_free(heap, self->chunks[--self->chunk_count], CHUNK * sizeof(firn_candidate));
        return false;
    }
    if (self->page_count > 0) {
        firn_heap_free(heap, self->pages[--self->page_count], PAGE * sizeof(uint32_t));
        return false;
    }
    firn_heap_free(heap, self->chunks, self->chunk_room * sizeof *self->chunks);
    firn_heap_free(heap, self->pages, self->page_room * sizeof *self->pages);
    firn_heap_free(heap, self->watched, self->watched_room * sizeof *self->watched);
    self->chunks = NULL;
    self->pages = NULL;
    self->watched = NULL;
    self->chunk_room = self->count = self->page_room = 0;
    self->watched_count = self->watched_room = 0;
    self->alive = 0;
    return true;
}

/* ---- the way of a round ---- */

static void enter(firn_collector *self, enum firn_collect_phase phase) {
    self->phase = phase;
    self->position = 0;
}

static void give_up(firn_collector *self) {
    if (self->list < FIRN_HOLDER_LISTS) {
        firn_domain_unmark(&self->domain->holders[self->list], &self->mark);
    }
    enter(self, FIRN_COLLECT_RELEASE);
}

static void work_on(firn_collector *self, uint32_t number) {
    switch (self->phase) {
    case FIRN_COLLECT_INDEX:
        index_one(self, number);
        break;
    case FIRN_COLLECT_COUNT:
        visit(self, candidate_at(self, number), count_held);
        break;
    case FIRN_COLLECT_JUDGE:
        judge(self, number);
        break;
    case FIRN_COLLECT_FREEZE:
        freeze(self, number);
        break;
    case FIRN_COLLECT_CHECK:
        check(self, number);
        break;
    case FIRN_COLLECT_DROP:
        drop(self, number);
        break;
    default:
        release(self, number);
    }
}

/* A piece of a phase that does not go through the candidates. True: it is done. */
static bool work_otherwise(firn_collector *self) {
    switch (self->phase) {
    case FIRN_COLLECT_GATHER:
        gather(self);
        if (self->list == FIRN_HOLDER_LISTS && self->failed == FIRN_OK) {
            add(&self->candidates, self->count);
            if (self->count == 0) {
                enter(self, FIRN_COLLECT_CLEAR);
                return false;
            }
            self->failed = plan_places(self);
            return true;
        }
        return false;
    case FIRN_COLLECT_MAKE_PLACES:
        self->failed = make_page(self);
        return self->page_count == self->page_room;
    case FIRN_COLLECT_SEAL:
        return seal(self);
    default:
        return clear_some(self);
    }
}

static bool goes_through_candidates(enum firn_collect_phase phase) {
    return phase != FIRN_COLLECT_GATHER && phase != FIRN_COLLECT_MAKE_PLACES &&
           phase != FIRN_COLLECT_SEAL && phase != FIRN_COLLECT_CLEAR;
}

/* The least there is to do. */
static void work(firn_collector *self) {
    bool done = false;
    if (self->alive != 0 && self->phase < FIRN_COLLECT_DROP) {
        spread(self);
    } else if (!goes_through_candidates(self->phase)) {
        done = work_otherwise(self);
    } else if (self->position < self->count) {
        work_on(self, self->position++);
    } else {
        done = true;
    }
    if (self->failed != FIRN_OK && self->phase < FIRN_COLLECT_RELEASE) {
        give_up(self);
    } else if (done && self->phase == FIRN_COLLECT_CLEAR) {
        add(&self->rounds, self->failed == FIRN_OK);
        enter(self, FIRN_COLLECT_IDLE);
    } else if (done) {
        enter(self, self->phase + 1);
    }
}

static void begin(firn_collector *self, bool asked) {
    self->asked = asked;
    self->failed = FIRN_OK;
    self->list = 0;
    self->mark = (firn_holder_mark){.rich = {.listed = false}};
    enter(self, FIRN_COLLECT_GATHER);
}

/* Until the round is done or about a piece's time is over. The lock is held. */
static void work_a_piece(firn_collector *self, uint64_t budget_ns) {
    uint64_t began_ns = firn_monotonic_ns();
    uint64_t now_ns;
    do {
        for (unsigned i = 0; i < UNTIL_CLOCK && self->phase != FIRN_COLLECT_IDLE; i++) {
            work(self);
        }
        now_ns = firn_monotonic_ns();
    } while (self->phase != FIRN_COLLECT_IDLE && now_ns - began_ns < budget_ns);
    if (now_ns - began_ns > atomic_load_explicit(&self->longest_ns, memory_order_relaxed)) {
        atomic_store_explicit(&self->longest_ns, now_ns - began_ns, memory_order_relaxed);
    }
}

int firn_collector_init(firn_collector *self, firn_domain *domain) {
    if (pthread_mutex_init(&self->lock, NULL) != 0) {
        return FIRN_ENOMEM;
    }
    self->domain = domain;
    return FIRN_OK;
}

void firn_collector_fini(firn_collector *self) {
    if (self->domain == NULL) {
        return;
    }
    if (self->phase != FIRN_COLLECT_IDLE) {
        give_up(self);
        while (self->phase != FIRN_COLLECT_IDLE) {
            work(self);
        }
    }
    pthread_mutex_destroy(&self->lock);
    self->domain = NULL;
}

int firn_collector_run(firn_collector *self, uint64_t budget_ns) {
    uint64_t began_ns = firn_monotonic_ns();
    int result = FIRN_AGAIN;
    pthread_mutex_lock(&self->lock);
    self->asked = self->asked && budget_ns != UINT64_MAX;
    do {
        if (self->phase == FIRN_COLLECT_IDLE) {
            begin(self, true);
        }
        uint64_t spent_ns = firn_monotonic_ns() - began_ns;
        uint64_t left_ns = spent_ns < budget_ns ? budget_ns - spent_ns : 0;
        work_a_piece(self, left_ns < FIRN_COLLECT_PIECE_NS ? left_ns : FIRN_COLLECT_PIECE_NS);
        if (self->phase == FIRN_COLLECT_IDLE && self->asked) {
            result = self->failed;
            break;
        }
    } while (firn_monotonic_ns() - began_ns < budget_ns);
    pthread_mutex_unlock(&self->lock);
    return result;
}

int firn_collector_step(firn_collector *self) {
    if (pthread_mutex_trylock(&self->lock) != 0) {
        return FIRN_OK; /* somebody is at it */
    }
    if (self->phase == FIRN_COLLECT_IDLE) {
        begin(self, false);
    }
    work_a_piece(self, FIRN_COLLECT_PIECE_NS);
    int result = self->phase != FIRN_COLLECT_IDLE ? FIRN_AGAIN : self->failed;
    pthread_mutex_unlock(&self->lock);
    return result;
}

bool firn_collector_busy(firn_collector *self) {
    if (pthread_mutex_trylock(&self->lock) != 0) {
        return false;
    }
    bool busy = self->phase != FIRN_COLLECT_IDLE;
    pthread_mutex_unlock(&self->lock);
    return busy;
}

void firn_collector_finish(firn_collector *self) {
    uint64_t before;
    do {
        before = atomic_load_explicit(&self->objects, memory_order_relaxed);
    } while (firn_collector_run(self, UINT64_MAX) == FIRN_OK &&
             atomic_load_explicit(&self->objects, memory_order_relaxed) != before);
}
