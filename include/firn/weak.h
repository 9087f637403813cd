/* Weak references: they remember an entry without keeping it.
 *
 * A weak reference takes no part in what lives how long. When it is asked, it gives the entry's
 * object: the live one if there is one, in the cache or held by somebody while the cold tier has
 * the same; else one that is brought up from the cold tier; else it says that the entry is gone.
 */
#ifndef FIRN_WEAK_H
#define FIRN_WEAK_H

#include <firn/cache.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct firn_weak firn_weak;

/* Makes a weak reference to the entry of an object.
 *
 * object  of this cache, put or got; the caller holds a reference
 * weak    where it goes; NULL after an error. Release it with firn_weak_free
 *
 * FIRN_EINVAL  the object is of another cache, or was never put
 * FIRN_ENOMEM */
FIRN_API FIRN_NODISCARD int firn_weak_new(firn_cache *cache, firn_object *object, firn_weak **weak);

/* Gives the entry's object as it is now: after an overwrite, the new one. Counts as a hit or miss,
 * like firn_get. Safe against everything else that happens to the entry at the same time, the drop
 * of its last reference included. After firn_close: the object it was made from, if somebody still
 * holds that.
 *
 * object  where it goes; NULL unless FIRN_OK is returned. The caller owns one reference.
 *
 * FIRN_NOT_FOUND  the entry is gone
 * All others as firn_get */
FIRN_API FIRN_NODISCARD int firn_weak_get(firn_weak *weak, firn_object **object);

/* Releases the weak reference, before or after firn_close. NULL is ignored. One thread, when no
 * other uses it. */
FIRN_API void firn_weak_free(firn_weak *weak);

#ifdef __cplusplus
}
#endif

#endif
