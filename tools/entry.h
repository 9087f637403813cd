/* Writing entries of a store: what `firn dump` and `firn get` share. A value in pieces is written
 * piece by piece, and is never in memory as a whole. */
#ifndef FIRN_TOOLS_ENTRY_H
#define FIRN_TOOLS_ENTRY_H

#include <stdbool.h>

#include <firn/store.h>

#include "output.h"

/* Writes the entry's value, which was asked for, to the standard output. FIRN_OK; FIRN_NOT_FOUND: a
 * piece was reclaimed; or what else firn_store_get_piece gave; in words: firn_store_message.
 * *begun: some of it was written before. */
int print_value(firn_store *store, const firn_store_entry *entry, flow_form how, bool *begun);

/* The hash of one of its tags. */
uint64_t entry_tag(const firn_store_entry *entry, uint32_t number);

/* "keeps", or "depends". */
const char *link_kind(const firn_link *link);

/* An object with all that is known of the entry, and a newline. Returns what print_value does;
 * after an error the object is well-formed, and says that it is incomplete. */
int json_entry(firn_store *store, const firn_store_entry *entry, bool value);

#endif
