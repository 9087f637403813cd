/* The words for result codes, and the version. */
#include <firn/error.h>

const char *firn_strerror(int code) {
    switch (code) {
    case FIRN_OK:
        return "success";
    case FIRN_NOT_FOUND:
        return "not found";
    case FIRN_AGAIN:
        return "work is left";
    case FIRN_EXISTS:
        return "there is an entry already";
    case FIRN_CONFLICT:
        return "the entry has changed";
    case FIRN_ENOMEM:
        return "out of memory";
    case FIRN_ENOSPC:
        return "no space left";
    case FIRN_ECORRUPT:
        return "the store is damaged";
    case FIRN_EVERSION:
        return "incompatible store format or version";
    case FIRN_EBUSY:
        return "the store is open for writing elsewhere";
    case FIRN_ETOOLARGE:
        return "too large";
    case FIRN_EINVAL:
        return "invalid argument";
    case FIRN_EREADONLY:
        return "read-only";
    case FIRN_EIO:
        return "input/output error";
    case FIRN_EBUFFER:
        return "the buffer is too small";
    case FIRN_ENOTSTORE:
        return "not a firn store";
    case FIRN_ETYPE:
        return "the entry's type is unknown, or not the one asked for";
    case FIRN_STALE:
        return "a stale value";
    case FIRN_ETIMEDOUT:
        return "timed out";
    case FIRN_EDEADLK:
        return "a load would wait for itself";
    default:
        return code <= FIRN_EUSER ? "an error of the program's own" : "unknown error";
    }
}

const char *firn_version(void) {
    return FIRN_VERSION_TEXT;
}
