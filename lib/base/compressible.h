/* About how small bytes would become, by a look at a sample of them, in about a microsecond: the
 * entropy of single bytes, less what repeats. Knows no codec: who wants to be right on the average
 * corrects it by what became of earlier ones. */
#ifndef FIRN_BASE_COMPRESSIBLE_H
#define FIRN_BASE_COMPRESSIBLE_H

#include <stddef.h>
#include <stdint.h>

/* Bytes, at least 1 and at most size; 0 for none. */
uint64_t firn_compressible_size(const void *bytes, size_t size);

#endif
