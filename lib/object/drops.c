/* See drops.h. */
#include "object/drops.h"

#include <stddef.h>

#include "object/domain.h"

/* The only state that is a thread's: what it is in the midst of. Empty whenever no function of the
 * library runs on it. */
static _Thread_local struct {
    unsigned holds;
    firn_object *first;
    firn_object *last;
} waiting;

static void drop_value(firn_object *object) {
    const firn_object_rich *rich = firn_object_rich_of(object);
    const firn_type *type = rich->type;
    if (rich->live && type != NULL && type->drop != NULL) {
        type->drop(type->context, firn_object_body(object), firn_object_value_size(object));
    }
    firn_object_disown(object);
}

static void drop_all(void) {
    waiting.holds++;
    while (waiting.first != NULL) {
        firn_object *object = waiting.first;
        waiting.first = firn_object_rich_of(object)->next;
        drop_value(object);
        firn_object_free(object);
    }
    waiting.last = NULL;
    waiting.holds--;
}

void firn_drops_hold(void) {
    waiting.holds++;
}

void firn_drops_release(void) {
    waiting.holds--;
    if (waiting.holds == 0 && waiting.first != NULL) {
        drop_all();
    }
}

bool firn_drops_within(void) {
    return waiting.holds > 0;
}

void firn_drops_now(firn_object *object) {
    firn_drops_hold();
    drop_value(object);
    firn_drops_release();
}

void firn_drops_add(firn_object *object) {
    firn_object_rich *rich = firn_object_rich_of(object);
    firn_domain_remove_holder(object); /* its links are wanted here */
    rich->next = NULL;
    if (waiting.first == NULL) {
        waiting.first = object;
    } else {
        firn_object_rich_of(waiting.last)->next = object;
    }
    waiting.last = object;
    if (waiting.holds == 0) {
        drop_all();
    }
}
