/* Least recently used: a list with the most recent at its head. Costs an entry nothing beyond its
 * header. */
#include "hot/policy/entry_list.h"
#include "hot/policy/policies.h"

typedef struct lru {
    const firn_policy_host *host;
    firn_entry_list list;
} lru;

static int lru_init(void *state, const firn_policy_host *host, uint64_t capacity) {
    (void)capacity;
    ((lru *)state)->host = host;
    return FIRN_OK;
}

static void lru_fini(void *state) {
    (void)state;
}

static void lru_resize(void *state, uint64_t capacity) {
    (void)state;
    (void)capacity;
}

static void lru_insert(void *state, firn_entry *entry) {
    firn_entry_list_push_head(&((lru *)state)->list, entry, 0);
}

static void lru_restore(void *state, firn_entry *entry) {
    firn_entry_list_push_tail(&((lru *)state)->list, entry, 0);
}

static void lru_hit(void *state, firn_entry *entry) {
    firn_entry_list_move_to_head(&((lru *)state)->list, entry);
}

static void lru_replace(void *state, firn_entry *old, firn_entry *entry) {
    firn_entry_list_replace(&((lru *)state)->list, old, 0, entry, 0);
}

static void lru_remove(void *state, firn_entry *entry, int evicted) {
    (void)evicted;
    firn_entry_list_remove(&((lru *)state)->list, entry, 0);
}

static firn_entry *lru_victim(void *state) {
    return ((lru *)state)->list.tail;
}

static firn_entry *lru_walk(void *state, const firn_entry *entry, unsigned order) {
    firn_entry_list *list = &((lru *)state)->list;
    return firn_entry_lists_walk(&list, 1, 0, entry, order);
}

const firn_policy firn_lru_policy = {
    .size = sizeof(firn_policy),
    .name = "lru",
    .state_size = sizeof(lru),
    .hits = FIRN_HITS_RECENT,
    .init = lru_init,
    .fini = lru_fini,
    .resize = lru_resize,
    .insert = lru_insert,
    .restore = lru_restore,
    .hit = lru_hit,
    .replace = lru_replace,
    .remove = lru_remove,
    .victim = lru_victim,
    .walk = lru_walk,
};
