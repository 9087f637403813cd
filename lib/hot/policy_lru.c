/* Least recently used: a list with the most recent at its head. */
#include "hot/object_list.h"
#include "hot/policy.h"

static void lru_init(void *state) {
    *(firn_object_list *)state = (firn_object_list){NULL, NULL};
}

static void lru_insert(void *state, firn_object *object) {
    firn_object_list_push_head(state, object);
}

static void lru_restore(void *state, firn_object *object) {
    firn_object_list_push_tail(state, object);
}

static void lru_remove(void *state, firn_object *object) {
    firn_object_list_remove(state, object);
}

static void lru_hit(void *state, firn_object *object) {
    firn_object_list *list = state;
    if (list->head != object) {
        firn_object_list_remove(list, object);
        firn_object_list_push_head(list, object);
    }
}

static firn_object *lru_victim(void *state) {
    return ((firn_object_list *)state)->tail;
}

static firn_object *lru_walk(const void *state, const firn_object *object,
                             enum firn_policy_order order) {
    const firn_object_list *list = state;
    if (order == FIRN_HOTTEST_FIRST) {
        return object == NULL ? list->head : object->next;
    }
    return object == NULL ? list->tail : object->prev;
}

const firn_policy_ops firn_policy_lru = {
    .name = "lru",
    .state_size = sizeof(firn_object_list),
    .init = lru_init,
    .insert = lru_insert,
    .restore = lru_restore,
    .hit = lru_hit,
    .remove = lru_remove,
    .victim = lru_victim,
    .walk = lru_walk,
};
