/* SIEVE (Zhang et al., "SIEVE is simpler than LRU", NSDI 2024): a queue in order of arrival and a
 * hand that walks it from old to new. A hit sets a bit; the hand clears set bits and evicts the
 * first entry whose bit is clear. Nothing moves on a hit.
 *
 * Order of value for a restart: marked before unmarked would need two passes, so entries are
 * told in order of arrival, newest first. */
#include "hot/object_list.h"
#include "hot/policy.h"

typedef struct sieve {
    firn_object_list list; /* newest at the head */
    firn_object *hand;     /* NULL: begin at the tail */
} sieve;

enum { VISITED = 1 };

static void sieve_init(void *state) {
    *(sieve *)state = (sieve){{NULL, NULL}, NULL};
}

static void sieve_insert(void *state, firn_object *object) {
    object->policy_bits = 0;
    firn_object_list_push_head(&((sieve *)state)->list, object);
}

static void sieve_restore(void *state, firn_object *object) {
    object->policy_bits = 0;
    firn_object_list_push_tail(&((sieve *)state)->list, object);
}

static void sieve_hit(void *state, firn_object *object) {
    (void)state;
    object->policy_bits = VISITED;
}

static void sieve_remove(void *state, firn_object *object) {
    sieve *self = state;
    if (self->hand == object) {
        self->hand = object->prev;
    }
    firn_object_list_remove(&self->list, object);
}

static firn_object *sieve_victim(void *state) {
    sieve *self = state;
    firn_object *object = self->hand != NULL ? self->hand : self->list.tail;
    /* Ends within two rounds: the first clears every bit it meets. */
    while (object != NULL && object->policy_bits == VISITED) {
        object->policy_bits = 0;
        object = object->prev != NULL ? object->prev : self->list.tail;
    }
    self->hand = object;
    return object;
}

static firn_object *sieve_walk(const void *state, const firn_object *object,
                               enum firn_policy_order order) {
    const sieve *self = state;
    if (order == FIRN_HOTTEST_FIRST) {
        return object == NULL ? self->list.head : object->next;
    }
    return object == NULL ? self->list.tail : object->prev;
}

const firn_policy_ops firn_policy_sieve = {
    .name = "sieve",
    .state_size = sizeof(sieve),
    .init = sieve_init,
    .insert = sieve_insert,
    .restore = sieve_restore,
    .hit = sieve_hit,
    .remove = sieve_remove,
    .victim = sieve_victim,
    .walk = sieve_walk,
};
