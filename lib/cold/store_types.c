/* The types and links of a store's entries, as they look from outside: firn_store_get_type and
 * firn_store_entry_links. Knows the file of names and the bytes of links, and counts; nothing of
 * how records are found. */
#include <stdio.h>
#include <string.h>

#include "base/links.h"
#include "base/sized.h"
#include "cold/store_internal.h"

enum { TYPES_MAX = 2 * FIRN_TYPE_NAMES_MAX }; /* those whose names are not known too */

void firn_store_types_fini(firn_store *store) {
    firn_store_types *types = &store->types;
    firn_type_names_free(&types->names, store->heap);
    firn_heap_free(store->heap, types->list, TYPES_MAX * sizeof *types->list);
}

static int no_memory(firn_store *store) {
    return firn_detail_set(&store->detail, FIRN_ENOMEM, "%s: no memory for the names of its types",
                           store->path);
}

static int read_names(firn_store *store) {
    firn_store_types *types = &store->types;
    firn_type_names_free(&types->names, store->heap);
    types->fresh = firn_type_names_read(&types->names, store->path, store->heap) == FIRN_OK;
    return types->fresh ? FIRN_OK : no_memory(store);
}

static void make_name(const firn_type_name *known, uint32_t id, char *name) {
    if (known != NULL) {
        memcpy(name, known->name, sizeof known->name);
    } else {
        snprintf(name, FIRN_TYPE_NAME_MAX + 1, "?%08x", (unsigned)id);
    }
}

int firn_store_name_type(firn_store *store, uint32_t id, const char **name) {
    firn_store_types *types = &store->types;
    const firn_type_name *known = firn_type_names_find(&types->names, id);
    if (known == NULL && !types->fresh) { /* a writer may have registered it meanwhile */
        int result = read_names(store);
        if (result != FIRN_OK) {
            return result;
        }
        known = firn_type_names_find(&types->names, id);
    }
    make_name(known, id, types->name);
    *name = types->name;
    return FIRN_OK;
}

/* ---- counting ---- */

static firn_store_type *add_type(firn_store_types *types, uint32_t id,
                                 const firn_type_name *known) {
    firn_store_type *added = &types->list[types->listed++];
    *added = (firn_store_type){.size = sizeof *added, .id = id};
    make_name(known, id, added->name);
    return added;
}

int firn_store_count_types(firn_store *store) {
    firn_store_types *types = &store->types;
    if (types->list == NULL) {
        types->list = firn_heap_alloc(store->heap, TYPES_MAX * sizeof *types->list);
        if (types->list == NULL) {
            return no_memory(store);
        }
    }
    types->listed = 0;
    int result = read_names(store);
    for (size_t i = 0; i < types->names.count; i++) {
        const firn_type_name *known = &types->names.names[i];
        add_type(types, known->id, known)->version = known->version;
    }
    return result;
}

void firn_store_count_type(firn_store *store, uint32_t id, uint32_t version) {
    firn_store_types *types = &store->types;
    firn_store_type *found = NULL;
    for (size_t i = 0; i < types->listed && found == NULL; i++) {
        found = types->list[i].id == id ? &types->list[i] : NULL;
    }
    if (found == NULL && types->listed < TYPES_MAX) {
        found = add_type(types, id, firn_type_names_find(&types->names, id));
    }
    if (found != NULL) {
        found->entries++;
        found->version = found->version > version ? found->version : version;
    }
}

int firn_store_get_type(firn_store *store, size_t number, firn_store_type *type) {
    if (store == NULL || firn_is_unsized(type)) {
        return FIRN_EINVAL;
    }
    if (number >= store->types.listed) {
        return FIRN_NOT_FOUND;
    }
    firn_give_sized(type, &store->types.list[number], sizeof store->types.list[number]);
    return FIRN_OK;
}

/* ---- links ---- */

int firn_store_entry_links(const firn_store_entry *entry,
                           int (*each)(void *context, const firn_link *link), void *context) {
    firn_link link;
    size_t at = 0;
    int result = 0;
    if (entry == NULL || each == NULL) {
        return FIRN_EINVAL;
    }
    while (result == 0 && entry->links != NULL &&
           firn_links_next(entry->links, entry->links_size, &at, &link)) {
        result = link.kind != FIRN_LINKS_BODY ? each(context, &link) : 0;
    }
    return result;
}
