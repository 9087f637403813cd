/* See object.h in this folder for the layout and the states, firn/object.h for the promises. */
#include "object/object.h"

#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "object/domain.h"
#include "object/drops.h"
#include "object/track.h"

_Static_assert(sizeof(firn_object) == 32 && sizeof(firn_object_extension) == 32 &&
                   sizeof(firn_object_traits) % 16 == 0 && sizeof(firn_object_rich) % 16 == 0,
               "what follows is aligned");
_Static_assert(FIRN_KEY_SIZE_MAX <= FIRN_ENTRY_LOW_MASK + 1, "a key's size less one has 20 bits");

#define VERSION_MASK ((UINT64_C(1) << FIRN_OBJECT_VERSION_BITS) - 1)

/* The key is last if that saves 16 bytes, and both are small. */
static unsigned flags_for(size_t key_size, size_t value_size, const firn_traits *traits) {
    bool key_last = value_size <= FIRN_OBJECT_KEY_LAST_MAX &&
                    key_size <= FIRN_OBJECT_KEY_LAST_MAX &&
                    ((value_size + 15) & 15) + ((key_size + 15) & 15) < 15;
    unsigned flags = key_last ? FIRN_OBJECT_KEY_LAST : 0;
    if (value_size > FIRN_ENTRY_LOW_MASK) {
        flags |= FIRN_OBJECT_LARGE | FIRN_OBJECT_TRAITS | FIRN_OBJECT_EXPIRES;
    }
    if (traits == NULL) {
        return flags;
    }
    if (firn_traits_many(traits)) {
        flags |= FIRN_OBJECT_TRAITS | FIRN_OBJECT_EXPIRES;
    }
    bool extended = traits->expires_ms != 0 || traits->cost_us != 0 || traits->negative;
    return flags | (extended ? FIRN_OBJECT_EXPIRES : 0u) |
           (traits->negative ? FIRN_OBJECT_NEGATIVE : 0u);
}

static size_t padded(size_t size) {
    return (size + 15) & ~(size_t)15;
}

/* The bytes before key and value. tags: bytes. */
static size_t head_size(unsigned flags, size_t tags) {
    return sizeof(firn_object) +
           ((flags & FIRN_OBJECT_EXTENDED) != 0 ? sizeof(firn_object_extension) : 0) +
           ((flags & FIRN_OBJECT_TRAITS) != 0 ? sizeof(firn_object_traits) + padded(tags) : 0) +
           ((flags & FIRN_OBJECT_RICH) != 0 ? sizeof(firn_object_rich) : 0);
}

static size_t size_for(size_t key_size, size_t value_size, unsigned flags, size_t tags) {
    size_t head = head_size(flags, tags);
    if ((flags & FIRN_OBJECT_KEY_LAST) != 0) {
        return head + value_size + key_size;
    }
    head += padded(key_size);
    return value_size > SIZE_MAX - 64 - head ? SIZE_MAX : head + value_size;
}

static size_t tags_of(const firn_object *object) {
    bool has_traits = (firn_object_flags(object) & FIRN_OBJECT_TRAITS) != 0;
    return has_traits ? (size_t)firn_object_traits_of(object)->tag_count * sizeof(uint64_t) : 0;
}

static size_t size_of(const firn_object *object) {
    return size_for(firn_object_key_size(object), firn_object_value_size(object),
                    firn_object_flags(object), tags_of(object));
}

size_t firn_object_charge_for(const firn_pool *pool, size_t key_size, size_t value_size,
                              const firn_traits *traits) {
    size_t size = size_for(key_size, value_size, flags_for(key_size, value_size, traits),
                           traits != NULL ? firn_traits_tags_size(traits) : 0);
    return size > INT64_MAX ? SIZE_MAX : firn_pool_charge(pool, size);
}

static void extend(firn_object *object, size_t value_size, const firn_traits *traits,
                   unsigned flags) {
    firn_object_extension *extension = firn_object_extension_of(object);
    atomic_init(&extension->expires_ms, traits->expires_ms);
    extension->next = NULL;
    extension->back = NULL;
    extension->stale_ms = traits->stale_ms;
    extension->cost_us = traits->cost_us;
    if ((flags & FIRN_OBJECT_TRAITS) != 0) {
        *firn_object_traits_of(object) = (firn_object_traits){.value_size = value_size,
                                                              .idle_ms = traits->idle_ms,
                                                              .limit_ms = traits->limit_ms,
                                                              .tag_count = traits->tag_count};
        if (traits->tag_count > 0) {
            memcpy(firn_object_traits_of(object) + 1, traits->tags, firn_traits_tags_size(traits));
        }
    }
}

static firn_object *make(firn_pool *pool, const void *key, size_t key_size, size_t value_size,
                         const firn_traits *traits, unsigned flags) {
    static const firn_traits none = {0};
    traits = traits != NULL ? traits : &none;
    size_t size = size_for(key_size, value_size, flags, firn_traits_tags_size(traits));
    if (size > INT64_MAX) {
        return NULL;
    }
    firn_object *object = firn_pool_alloc(pool, size);
    if (object == NULL) {
        return NULL;
    }
    const firn_domain *domain = firn_pool_companion(pool);
    flags |= domain != NULL && domain->tracker != NULL ? FIRN_OBJECT_TRACKED : 0u;
    uint64_t group = domain != NULL ? firn_prefixes_group(&domain->groups, key, key_size) : 0;
    atomic_init(&object->entry.refs, 1);
    atomic_init(&object->entry.mark, 0);
    atomic_init(&object->entry.state, 0);
    object->entry.policy_bits = 0;
    object->entry.version_flags =
        (uint64_t)flags << FIRN_OBJECT_FLAGS_SHIFT | group << FIRN_OBJECT_VERSION_BITS;
    atomic_init(&object->entry.prev_word, key_size - 1);
    atomic_init(&object->entry.next_word, (flags & FIRN_OBJECT_LARGE) != 0 ? 0 : value_size);
    if ((flags & FIRN_OBJECT_EXTENDED) != 0) {
        extend(object, value_size, traits, flags);
    }
    memcpy((unsigned char *)(uintptr_t)firn_object_key_bytes(object), key, key_size);
    return object;
}

firn_object *firn_object_make(firn_pool *pool, const void *key, size_t key_size, size_t value_size,
                              const firn_traits *traits) {
    return make(pool, key, key_size, value_size, traits, flags_for(key_size, value_size, traits));
}

firn_object *firn_object_make_rich(firn_pool *pool, const void *key, size_t key_size,
                                   size_t value_size, const firn_traits *traits,
                                   const firn_type *type) {
    unsigned flags =
        flags_for(key_size, value_size, traits) | FIRN_OBJECT_RICH | FIRN_OBJECT_EXPIRES;
    firn_object *object = make(pool, key, key_size, value_size, traits, flags);
    if (object != NULL) {
        *firn_object_rich_of(object) = (firn_object_rich){.type = type};
        memset(firn_object_body(object), 0, value_size);
    }
    return object;
}

static void count_charge(const firn_object *object, size_t charge) {
    if (charge != 0) {
        atomic_fetch_add_explicit(&firn_domain_of(object)->live_charge, charge,
                                  memory_order_relaxed);
    }
}

void firn_object_enliven(firn_object *object) {
    firn_object_rich *rich = firn_object_rich_of(object);
    const firn_type *type = rich->type;
    if (rich->live) {
        return;
    }
    rich->live = true;
    if (type != NULL && type->charge != NULL) {
        rich->charge =
            type->charge(type->context, firn_object_body(object), firn_object_value_size(object));
    }
    count_charge(object, rich->charge);
}

void firn_object_disown(firn_object *object) {
    firn_object_rich *rich = firn_object_rich_of(object);
    if (!rich->live) {
        return;
    }
    rich->live = false;
    count_charge(object, -rich->charge);
    firn_domain_remove_holder(object);
}

void *firn_object_value(firn_object *object) {
    return firn_object_version(object) == 0 ? firn_object_body(object) : NULL;
}

void *firn_object_body(firn_object *object) {
    return (void *)(uintptr_t)firn_object_data(object);
}

void firn_object_set_version(firn_object *object, uint64_t version) {
    object->entry.version_flags =
        (object->entry.version_flags & ~VERSION_MASK) | (version & VERSION_MASK);
}

bool firn_object_set_expiry_locked(firn_object *object, uint64_t expires_ms) {
    if ((firn_object_flags(object) & FIRN_OBJECT_EXPIRES) == 0) {
        return expires_ms == 0;
    }
    atomic_store_explicit(&firn_object_extension_of(object)->expires_ms, expires_ms,
                          memory_order_relaxed);
    return true;
}

bool firn_object_should_move(const firn_object *object) {
    return !firn_object_is_rich(object) && (firn_object_state(object) & FIRN_FIXED) == 0 &&
           firn_pool_should_move(object, size_of(object));
}

firn_object *firn_object_copy(firn_pool *pool, const firn_object *object) {
    size_t key_size = firn_object_key_size(object);
    size_t value_size = firn_object_value_size(object);
    firn_traits traits = firn_object_get_traits(object);
    unsigned flags = firn_object_flags(object) & ~(unsigned)FIRN_OBJECT_TRACKED;
    firn_object *copy =
        make(pool, firn_object_key_bytes(object), key_size, value_size, &traits, flags);
    if (copy != NULL) {
        /* Its group too: the policy of that has the object. */
        copy->entry.version_flags = object->entry.version_flags;
        memcpy(firn_object_body(copy), firn_object_data(object), value_size);
    }
    return copy;
}

firn_pool *firn_object_pool(const firn_object *object) {
    return firn_pool_of(object, size_of(object));
}

size_t firn_object_charge(const firn_object *object) {
    size_t size = size_of(object);
    size_t charge = firn_pool_charge(firn_pool_of(object, size), size);
    if (!firn_object_is_rich(object)) {
        return charge;
    }
    size_t more = firn_object_rich_of(object)->charge;
    return more < INT64_MAX - charge ? charge + more : INT64_MAX;
}

uint64_t firn_object_hash(const firn_object *object) {
    size_t key_size = firn_object_key_size(object);
    uint64_t seed = firn_pool_seed(firn_object_pool(object));
    return firn_hash64(seed, firn_object_key_bytes(object), key_size);
}

bool firn_object_expired(const firn_object *object, uint64_t now_ms) {
    uint64_t expires_ms = firn_object_expires_ms(object);
    return expires_ms != 0 && expires_ms <= now_ms;
}

firn_traits firn_object_get_traits(const firn_object *object) {
    unsigned flags = firn_object_flags(object);
    firn_traits traits = {0};
    if ((flags & FIRN_OBJECT_EXTENDED) != 0) {
        const firn_object_extension *extension = firn_object_extension_of(object);
        traits.expires_ms = firn_object_expires_ms(object);
        traits.stale_ms = extension->stale_ms;
        traits.cost_us = extension->cost_us;
        traits.negative = (flags & FIRN_OBJECT_NEGATIVE) != 0;
    }
    if ((flags & FIRN_OBJECT_TRAITS) != 0) {
        const firn_object_traits *more = firn_object_traits_of(object);
        traits.idle_ms = more->idle_ms;
        traits.limit_ms = more->limit_ms;
        traits.tag_count = (uint32_t)more->tag_count;
        traits.tags = more + 1;
    }
    return traits;
}

void firn_object_slide(const firn_object *object, uint64_t now_ms) {
    const firn_object_traits *traits = firn_object_traits_of(object);
    uint64_t idle_ms = traits->idle_ms;
    uint64_t until_ms = firn_later(now_ms, idle_ms);
    if (traits->limit_ms != 0 && until_ms > traits->limit_ms) {
        until_ms = traits->limit_ms;
    }
    /* Not written where it would say about the same: readers share the line. A lost one of two
     * that meet is no harm, for both say about the same. */
    _Atomic uint64_t *expires_ms = &firn_object_extension_of(object)->expires_ms;
    uint64_t before_ms = atomic_load_explicit(expires_ms, memory_order_relaxed);
    if (until_ms > before_ms && until_ms - before_ms > idle_ms / 64) {
        atomic_store_explicit(expires_ms, until_ms, memory_order_relaxed);
    }
}

const void *firn_object_data(const firn_object *object) {
    unsigned flags = firn_object_flags(object);
    if ((flags & FIRN_OBJECT_RICH) != 0 && firn_object_rich_of(object)->body != NULL) {
        return firn_object_data(firn_object_rich_of(object)->body); /* which has none itself */
    }
    const unsigned char *body = (const unsigned char *)object + head_size(flags, tags_of(object));
    bool key_last = (flags & FIRN_OBJECT_KEY_LAST) != 0;
    return key_last ? body : body + padded(firn_object_key_size(object));
}

size_t firn_object_size(const firn_object *object) {
    const firn_object *body = firn_object_body_of(object);
    return firn_object_value_size(body != NULL ? body : object);
}

const void *firn_object_key(const firn_object *object, size_t *key_size) {
    size_t size = firn_object_key_size(object);
    if (key_size != NULL) {
        *key_size = size;
    }
    return firn_object_key_bytes(object);
}

uint64_t firn_object_expires_ms(const firn_object *object) {
    if ((firn_object_flags(object) & FIRN_OBJECT_EXPIRES) == 0) {
        return 0;
    }
    return atomic_load_explicit(&firn_object_extension_of(object)->expires_ms,
                                memory_order_relaxed);
}

uint64_t firn_object_version(const firn_object *object) {
    return object->entry.version_flags & VERSION_MASK;
}

firn_object *firn_object_keep(firn_object *object) {
    firn_object_add_refs(object, 1);
    return object;
}

firn_object *firn_object_ref(firn_object *object) {
    firn_object_add_refs(object, 1);
    if (__builtin_expect((firn_object_flags(object) & FIRN_OBJECT_TRACKED) != 0, 0)) {
        firn_track_take(firn_domain_of(object)->tracker, object, __builtin_return_address(0));
    }
    return object;
}

void firn_object_set_body(firn_object *object, firn_object *body) {
    firn_domain *domain = firn_domain_of(object);
    firn_object_rich *of_body = firn_object_rich_of(body);
    uint64_t size = firn_object_value_size(body);
    firn_object_rich_of(object)->body = firn_object_keep(body);
    atomic_fetch_add_explicit(&domain->interned, 1, memory_order_relaxed);
    /* The first user saves nothing. */
    if (atomic_fetch_add_explicit(&of_body->users, 1, memory_order_relaxed) > 0) {
        atomic_fetch_add_explicit(&domain->interned_saved, size, memory_order_relaxed);
    }
}

static void leave_body(firn_object *object) {
    firn_object *body = firn_object_rich_of(object)->body;
    if (body == NULL) {
        return;
    }
    firn_domain *domain = firn_domain_of(object);
    atomic_fetch_sub_explicit(&domain->interned, 1, memory_order_relaxed);
    if (atomic_fetch_sub_explicit(&firn_object_rich_of(body)->users, 1, memory_order_relaxed) > 1) {
        atomic_fetch_sub_explicit(&domain->interned_saved, firn_object_value_size(body),
                                  memory_order_relaxed);
    }
    firn_object_rich_of(object)->body = NULL;
    firn_object_unref(body);
}

firn_links *firn_object_get_links(const firn_object *object) {
    if (!firn_object_is_rich(object)) {
        return NULL;
    }
    firn_domain *domain = firn_domain_of(object);
    pthread_mutex_lock(&domain->links_lock);
    firn_links *links = firn_object_rich_of(object)->links;
    if (links != NULL) {
        firn_links_ref(links);
    }
    pthread_mutex_unlock(&domain->links_lock);
    return links;
}

void firn_object_set_links(firn_object *object, firn_links *links) {
    firn_domain *domain = firn_domain_of(object);
    firn_object_rich *rich = firn_object_rich_of(object);
    pthread_mutex_lock(&domain->links_lock);
    firn_links *before = rich->links;
    rich->links = links;
    pthread_mutex_unlock(&domain->links_lock);
    firn_links_unref(before, domain->heap);
}

int firn_object_links(firn_object *object, int (*each)(void *context, const firn_link *link),
                      void *context) {
    if (object == NULL || each == NULL) {
        return FIRN_EINVAL;
    }
    firn_links *links = firn_object_get_links(object);
    int result = 0;
    size_t at = 0;
    firn_link link;
    while (links != NULL && result == 0 && firn_links_next(links->bytes, links->size, &at, &link)) {
        result = link.kind != FIRN_LINKS_BODY ? each(context, &link) : 0;
    }
    if (links != NULL) {
        firn_links_unref(links, firn_domain_of(object)->heap);
    }
    return result;
}

void firn_object_free(firn_object *object) {
    if (firn_object_is_rich(object)) {
        leave_body(object);
        firn_links_unref(firn_object_rich_of(object)->links, firn_domain_of(object)->heap);
    }
    if ((firn_object_flags(object) & FIRN_OBJECT_TRACKED) != 0) {
        firn_track_forget(firn_domain_of(object)->tracker, object);
    }
    firn_pool_free(object, size_of(object));
}

/* Nobody can come to it any more. */
static void finish(firn_object *object) {
    if ((firn_object_state(object) & FIRN_WATCHED) != 0) {
        firn_watch_forget(object);
    }
    if (firn_object_is_rich(object)) {
        firn_drops_add(object);
    } else {
        firn_object_free(object);
    }
}

bool firn_object_try_ref(firn_object *object) {
    uint32_t refs = atomic_load_explicit(&object->entry.refs, memory_order_relaxed);
    while (refs != 0) {
        /* Relaxed: whoever lets us look sees to it that the object is there. */
        if (atomic_compare_exchange_weak_explicit(&object->entry.refs, &refs,
                                                  (refs & ~FIRN_OBJECT_FROZEN) + 1,
                                                  memory_order_relaxed, memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

void firn_object_unref(firn_object *object) {
    if (object == NULL) {
        return;
    }
    /* Acquire-release: all uses of other holders happen before the memory is given back. */
    if (atomic_fetch_sub_explicit(&object->entry.refs, 1, memory_order_acq_rel) == 1) {
        finish(object);
    }
}

const firn_type *firn_object_type(const firn_object *object) {
    return firn_object_is_rich(object) ? firn_object_rich_of(object)->type : NULL;
}
