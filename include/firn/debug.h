/* Looking for what holds what, and for handles that were not given back.
 *
 * firn_debug_dump tells of the objects there are. firn_options.leak_report has firn_close tell of
 * each object that the program still holds; with firn_options.track_handles it tells where handles
 * to it were taken. A handle is only a count, so who gave his back is not known: of an object with
 * one handle too many, the places are those of all who took one lately.
 */
#ifndef FIRN_DEBUG_H
#define FIRN_DEBUG_H

#include <stddef.h>
#include <stdint.h>

#include <firn/error.h>
#include <firn/object.h>

#ifdef __cplusplus
extern "C" {
#endif

struct firn_cache;

/* How many places are remembered of an object. */
enum { FIRN_PLACES_MAX = 8 };

/* Where in the program a handle was taken. */
typedef struct firn_place {
    const void *address; /* that the call returned to */
    const char *module;  /* the program or library it is in; NULL: not known. Lent for the report,
                            like the next */
    const char *symbol; /* the function, if it is exported (link with -rdynamic); NULL: not known */
    size_t offset;      /* of the address: from the symbol, or the module; for addr2line */
} firn_place;

/* An object that the program still holds when its cache is closed. */
typedef struct firn_leak {
    size_t size;          /* sizeof(firn_leak) */
    firn_object *object;  /* lent for the report; tells its key, size, version and type */
    uint64_t references;  /* handles, and references that values hold */
    uint64_t taken;       /* handles that the program ever took of it */
    unsigned place_count; /* 0 without track_handles */
    firn_place places[FIRN_PLACES_MAX]; /* of the last that were taken, the newest first */
} firn_leak;

/* A line of a dump, without an end of line; lent for the call. Must not call the cache. */
typedef void (*firn_debug_line)(void *context, const char *line);

/* Tells of all objects in memory that have a key or hold others: address, key, size, type, version,
 * state, references and pins, whom its value holds, and whom its links keep or depend on. The last
 * line sums up what there is, objects that only handles hold included, which are not told one by
 * one. For people, not for programs: the form of the lines may change. Others may use the cache
 * meanwhile; what changes while it goes may be told as it was, as it is, twice or not at all.
 *
 * FIRN_EBUSY   called by a function that drops a value
 * FIRN_ENOMEM */
FIRN_API int firn_debug_dump(struct firn_cache *cache, firn_debug_line line, void *context);

#ifdef __cplusplus
}
#endif

#endif
