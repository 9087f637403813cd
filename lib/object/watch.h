/* Who knows the address of an object without holding a reference to it: a table of watches, by
 * address, in the domain.
 *
 * An object that is watched has FIRN_WATCHED set. Whoever brings its count to 0 takes its watches
 * out of the table before anything else, under the lock that an upgrade takes too: so what an
 * upgrade finds there still is an object, and if its count is not 0, a reference can be had. */
#ifndef FIRN_OBJECT_WATCH_H
#define FIRN_OBJECT_WATCH_H

#include "object/object.h"

struct firn_domain;

typedef struct firn_watch {
    uintptr_t address;       /* immutable: of the object, also when that is gone */
    firn_object *object;     /* NULL: gone. The lock of its part of the table, like the next */
    struct firn_watch *next; /* of the same bucket */
} firn_watch;

/* The caller holds a reference, and has set FIRN_WATCHED. FIRN_OK or FIRN_ENOMEM. */
int firn_watch_add(struct firn_domain *domain, firn_watch *watch, firn_object *object);
void firn_watch_remove(struct firn_domain *domain, firn_watch *watch);
/* The object with a reference for the caller; NULL: it is gone. */
firn_object *firn_watch_upgrade(struct firn_domain *domain, firn_watch *watch);
/* The object's count came to 0: nobody shall find it any more. */
void firn_watch_forget(firn_object *object);

/* From the one to the other nobody upgrades. No lock of a watch part is held. */
void firn_watch_lock_all(struct firn_domain *domain);
void firn_watch_unlock_all(struct firn_domain *domain);
/* As firn_watch_forget, between the two. */
void firn_watch_forget_locked(firn_object *object);

#endif
