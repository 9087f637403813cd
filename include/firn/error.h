/* Result codes of firn, and the words for them.
 *
 * Every fallible function returns an int: 0 is success, a negative number is an error, a positive
 * number is an answer that is not an error (a miss, or work that is left).
 */
#ifndef FIRN_ERROR_H
#define FIRN_ERROR_H

#if defined(__GNUC__)
#define FIRN_API       __attribute__((visibility("default")))
#define FIRN_NODISCARD __attribute__((warn_unused_result))
#else
#define FIRN_API
#define FIRN_NODISCARD
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The numbers are part of the ABI: they are never reused. */
enum {
    FIRN_OK = 0,        /* done */
    FIRN_NOT_FOUND = 1, /* no such entry, or it has expired: a miss is not an error */
    FIRN_AGAIN = 2,     /* firn_run, firn_collect: the budget is used up and work is left */
    FIRN_EXISTS = 3,    /* firn_add: there is an entry already */
    FIRN_CONFLICT = 4,  /* firn_compare_and_swap: the entry has another version by now */
    FIRN_STALE = 5,     /* firn_get_or_load: a value that is past its freshness was given */

    FIRN_ENOMEM = -1,     /* the allocator gave no memory */
    FIRN_ENOSPC = -2,     /* the disk is full, or the memory bound is reached while it is */
    FIRN_ECORRUPT = -3,   /* the store is damaged */
    FIRN_EVERSION = -4,   /* the store was made by an incompatible version or byte order */
    FIRN_EBUSY = -5,      /* another handle or process has this store open for writing; or the call
                             cannot be made by a function that drops a value */
    FIRN_ETOOLARGE = -6,  /* a key above FIRN_KEY_SIZE_MAX, or a value no tier can hold */
    FIRN_EINVAL = -7,     /* an argument or option makes no sense */
    FIRN_EREADONLY = -8,  /* the cache was opened read-only */
    FIRN_EIO = -9,        /* the system refused: the detail message holds errno's text */
    FIRN_EBUFFER = -11,   /* the caller's buffer is too small; the size needed was reported */
    FIRN_ENOTSTORE = -12, /* the path holds something that is not a firn store */
    FIRN_ETYPE = -13,     /* the entry is of a type that is not registered, or not of bytes */
    FIRN_ETIMEDOUT = -14, /* the time to wait is over */
    FIRN_EDEADLK = -15,   /* a load would wait for itself */
    FIRN_EUSER = -1000    /* and all below: a loader's own errors */
};

/* The words for a result code: a static string, never NULL, not to be freed. Safe from any
 * thread. A number that is no code of firn gives "unknown error". */
FIRN_API const char *firn_strerror(int code);

/* The library's version, "MAJOR.MINOR.PATCH": a static string. Safe from any thread. */
FIRN_API const char *firn_version(void);

#ifdef __cplusplus
}
#endif

#endif
