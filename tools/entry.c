/* See entry.h. */
#include "entry.h"

#include <string.h>

static int flow_value(firn_store *store, const firn_store_entry *entry, flow *to, bool *begun) {
    *begun = false;
    if (entry->pieces == 0) {
        flow_add(to, entry->value, (size_t)entry->value_size);
        return FIRN_OK;
    }
    for (uint64_t i = 0; i < entry->pieces && (to->out == NULL || !ferror(to->out)); i++) {
        const void *piece;
        size_t size;
        int result = firn_store_get_piece(store, entry, i, &piece, &size);
        if (result != FIRN_OK) {
            return result;
        }
        flow_add(to, piece, size);
        *begun = true;
    }
    return FIRN_OK;
}

int print_value(firn_store *store, const firn_store_entry *entry, flow_form how, bool *begun) {
    flow to;
    flow_begin(&to, stdout, how);
    int result = flow_value(store, entry, &to, begun);
    flow_end(&to);
    return result;
}

/* Looks through it first, for the form depends on all of it. */
static int json_value(firn_store *store, const firn_store_entry *entry) {
    flow check;
    bool begun;
    flow_begin(&check, NULL, FLOW_CHECK);
    int result = flow_value(store, entry, &check, &begun);
    bool utf8 = flow_end(&check);
    if (result == FIRN_OK) {
        fputs(", ", stdout);
        flow_form how = json_name(stdout, "value", utf8);
        putchar('"');
        result = print_value(store, entry, how, &begun);
        putchar('"');
    }
    return result;
}

const char *link_kind(const firn_link *link) {
    return link->kind == FIRN_LINK_KEEPS ? "keeps" : "depends";
}

static int json_link(void *context, const firn_link *link) {
    bool *first = context;
    printf("%s{\"kind\": \"%s\", ", *first ? "" : ", ", link_kind(link));
    json_bytes(stdout, "key", link->key, link->key_size);
    printf(", \"version\": %llu}", (unsigned long long)link->version);
    *first = false;
    return ferror(stdout);
}

uint64_t entry_tag(const firn_store_entry *entry, uint32_t number) {
    uint64_t tag;
    memcpy(&tag, (const char *)entry->tags + number * sizeof tag, sizeof tag);
    return tag;
}

static void json_attributes(const firn_store_entry *entry) {
    fputs(", \"type\": ", stdout);
    if (entry->type != NULL) {
        json_text(stdout, entry->type);
        printf(", \"type_id\": %u, \"type_version\": %u", entry->type_id, entry->type_version);
    } else {
        fputs("null", stdout);
    }
    printf(", \"owned\": %s, \"interned\": %s, \"links\": [", entry->owned ? "true" : "false",
           entry->interned ? "true" : "false");
    bool first = true;
    (void)firn_store_entry_links(entry, json_link, &first);
    printf("], \"cost_us\": %llu, \"stale_ms\": %llu, \"idle_ms\": %llu, \"limit_ms\": %llu, "
           "\"negative\": %s, \"tags\": [",
           (unsigned long long)entry->cost_us, (unsigned long long)entry->stale_ms,
           (unsigned long long)entry->idle_ms, (unsigned long long)entry->limit_ms,
           entry->negative ? "true" : "false");
    for (uint32_t i = 0; i < entry->tag_count; i++) {
        printf("%s\"%016llx\"", i > 0 ? ", " : "", (unsigned long long)entry_tag(entry, i));
    }
    putchar(']');
}

int json_entry(firn_store *store, const firn_store_entry *entry, bool value) {
    putchar('{');
    json_bytes(stdout, "key", entry->key, entry->key_size);
    printf(", \"value_size\": %llu, \"stored_size\": ", (unsigned long long)entry->value_size);
    if (entry->pieces > 0) {
        fputs("null", stdout);
    } else {
        printf("%zu", entry->stored_size);
    }
    printf(", \"codec\": \"%s\", \"version\": %llu, \"sequence\": %llu, \"written_ms\": %llu, "
           "\"expires_ms\": %llu, \"expired\": %s, \"streamed\": %s, \"pieces\": %llu",
           entry->codec, (unsigned long long)entry->version, (unsigned long long)entry->sequence,
           (unsigned long long)entry->written_ms, (unsigned long long)entry->expires_ms,
           entry->expired ? "true" : "false", entry->pieces > 0 ? "true" : "false",
           (unsigned long long)entry->pieces);
    json_attributes(entry);
    int result = entry->incomplete ? FIRN_NOT_FOUND : FIRN_OK;
    if (value && result == FIRN_OK) {
        result = json_value(store, entry);
    }
    printf(", \"incomplete\": %s}\n", result != FIRN_OK ? "true" : "false");
    return result;
}
