/* The graph of links over a restart. A clean close leaves it in a file beside the store; after
 * anything else it is made anew from the records, which takes about as long as reading their heads
 * does. Then it may be that a target was changed and what depends on it was not deleted in time:
 * so each such link is held against the version that its target has now.
 *
 * A store in which nobody ever put a link has no such file, and its open costs nothing here. */
#include "cold/links_file.h"
#include "object/graph.h"
#include "tier/cache.h"

enum { WALK = 1024 /* hashes at a time */ };

/* ---- from the file ---- */

static int load_node(firn_cache *cache, firn_links_reader *reader,
                     const firn_graph_node_image *image) {
    firn_graph_link *links = NULL;
    size_t size = image->links * sizeof *links;
    int result = image->links <= FIRN_LINKS_MAX + 1 ? FIRN_OK : FIRN_ECORRUPT;
    if (result == FIRN_OK && size > 0) {
        links = firn_heap_zalloc(cache->heap, size);
        result = links != NULL ? FIRN_OK : FIRN_ENOMEM;
    }
    for (uint32_t i = 0; i < image->links && result == FIRN_OK; i++) {
        firn_graph_link_image link;
        result = firn_links_reader_read(reader, &link, sizeof link);
        if (result == FIRN_OK) {
            links[i] = (firn_graph_link){.target = link.target, .kind = (unsigned)link.kind};
        }
    }
    if (result == FIRN_OK) {
        bool owned = (image->flags & FIRN_GRAPH_IMAGE_OWNED) != 0;
        result = firn_graph_put(cache->linking.graph, image->hash, image->version, owned, links,
                                image->links, false);
    }
    firn_heap_free(cache->heap, links, size);
    return result;
}

/* FIRN_OK; FIRN_NOT_FOUND: there is no file; FIRN_ECORRUPT, FIRN_AGAIN: it does not tell; or an
 * error. */
static int load_file(firn_cache *cache) {
    firn_links_reader *reader;
    int result = firn_links_reader_open(&reader, firn_cold_path(cache->cold),
                                        firn_cold_store_id(cache->cold), cache->heap);
    if (result != FIRN_OK) {
        return result;
    }
    firn_graph_node_image image;
    while (result == FIRN_OK) {
        result = firn_links_reader_read(reader, &image, sizeof image);
        if (result == FIRN_OK) {
            result = load_node(cache, reader, &image);
        } else if (result == FIRN_NOT_FOUND) {
            firn_links_reader_close(reader);
            return FIRN_OK;
        }
    }
    firn_links_reader_close(reader);
    return result == FIRN_NOT_FOUND ? FIRN_ECORRUPT : result;
}

/* ---- from the records ---- */

/* A record as the walk sees it. */
typedef struct found {
    firn_cache *cache;
    uint64_t version;
    bool owned;
    firn_links *links;
    int result;
} found;

static void *place_links(void *context, const firn_cold_meta *meta) {
    found *self = context;
    const firn_attributes *attributes = &meta->attributes;
    self->version = meta->version;
    self->owned = attributes->owned;
    if (attributes->links_size > 0 &&
        firn_links_count(attributes->links, attributes->links_size) != SIZE_MAX) {
        self->links = firn_links_from(self->cache->heap, attributes->links, attributes->links_size);
        self->result = self->links != NULL ? FIRN_OK : FIRN_ENOMEM;
    }
    return NULL; /* the value is not wanted */
}

/* What is there under the hash: FIRN_OK, also if there is nothing, or an error. */
static int visit(firn_cache *cache, uint64_t hash, found *entry) {
    entry->cache = cache;
    int result = firn_cold_visit(cache->cold, hash, place_links, entry);
    if (entry->result != FIRN_OK) {
        return entry->result;
    }
    return result == FIRN_EIO ? result : FIRN_OK; /* the place always gives up */
}

/* Fills in the targets. *stale: one of them is not what it was when the link was made. */
static int find_targets(firn_cache *cache, const firn_links *block, firn_graph_link *targets,
                        bool *stale) {
    size_t at = 0;
    firn_link link;
    int result = FIRN_OK;
    *stale = false;
    for (size_t i = 0; result == FIRN_OK && firn_links_next(block->bytes, block->size, &at, &link);
         i++) {
        targets[i].target = firn_hash64(cache->seed, link.key, link.key_size);
        targets[i].kind = link.kind == FIRN_LINKS_BODY ? FIRN_LINK_KEEPS : link.kind;
        if (link.kind == FIRN_LINK_DEPENDS) {
            found target = {0};
            result = visit(cache, targets[i].target, &target);
            firn_links_unref(target.links, cache->heap);
            *stale = *stale || target.version != link.version;
        }
    }
    return result;
}

static int take_entry(firn_cache *cache, uint64_t hash, const found *entry) {
    firn_graph *graph = cache->linking.graph;
    size_t count = entry->links != NULL ? entry->links->count : 0;
    firn_graph_link *targets = NULL;
    bool stale = false;
    int result = FIRN_OK;
    if (count > 0) {
        targets = firn_heap_zalloc(cache->heap, count * sizeof *targets);
        result = targets != NULL ? find_targets(cache, entry->links, targets, &stale) : FIRN_ENOMEM;
    }
    if (result == FIRN_OK) {
        result = firn_graph_put(graph, hash, entry->version, entry->owned, targets, count, false);
    }
    if (result == FIRN_OK && stale) {
        firn_graph_doom(graph, hash, entry->version, FIRN_DOOM_DEPENDS);
    }
    firn_heap_free(cache->heap, targets, count * sizeof *targets);
    return result;
}

static int walk_records(firn_cache *cache) {
    uint64_t *hashes = firn_heap_alloc(cache->heap, 2 * WALK * sizeof *hashes);
    if (hashes == NULL) {
        return FIRN_ENOMEM;
    }
    uint64_t from = 0;
    int result = FIRN_OK;
    for (bool more = true; more && result == FIRN_OK;) {
        size_t count;
        result = firn_cold_walk(cache->cold, from, hashes, WALK, &count);
        for (size_t i = 0; i < count && result == FIRN_OK; i++) {
            found entry = {0};
            result = visit(cache, hashes[i], &entry);
            if (result == FIRN_OK && (entry.links != NULL || entry.owned)) {
                result = take_entry(cache, hashes[i], &entry);
            }
            firn_links_unref(entry.links, cache->heap);
        }
        more = result == FIRN_OK && count >= WALK && hashes[count - 1] != UINT64_MAX;
        from = more ? hashes[count - 1] + 1 : 0;
    }
    firn_heap_free(cache->heap, hashes, 2 * WALK * sizeof *hashes);
    return result;
}

/* ---- when ---- */

/* Held by firn_links_note_stored only to make the file once. */
static int mark_dirty(firn_cache *cache) {
    return firn_links_file_mark_dirty(firn_cold_path(cache->cold), firn_cold_store_id(cache->cold),
                                      cache->heap, &cache->detail);
}

int firn_links_load(firn_cache *cache) {
    if (cache->cold == NULL || cache->options.read_only) {
        return FIRN_OK;
    }
    int result = load_file(cache);
    if (result == FIRN_NOT_FOUND) {
        return FIRN_OK;
    }
    if (result == FIRN_OK) {
        result = mark_dirty(cache);
    } else if (result == FIRN_AGAIN || result == FIRN_ECORRUPT) {
        /* What a damaged file gave is given once more, and rightly, by the records. */
        result = walk_records(cache);
        firn_links_settle(cache);
    }
    atomic_store_explicit(&cache->linking.stored, true, memory_order_release);
    return result;
}

int firn_links_note_stored(firn_cache *cache) {
    firn_linking *self = &cache->linking;
    if (cache->options.read_only || atomic_load_explicit(&self->stored, memory_order_acquire)) {
        return FIRN_OK;
    }
    pthread_mutex_lock(&self->store_lock);
    int result = FIRN_OK;
    if (!atomic_load_explicit(&self->stored, memory_order_relaxed)) {
        result = mark_dirty(cache);
        atomic_store_explicit(&self->stored, result == FIRN_OK, memory_order_release);
    }
    pthread_mutex_unlock(&self->store_lock);
    return result;
}

static int append(void *context, const void *bytes, size_t size) {
    firn_links_writer_append(context, bytes, size);
    return 0;
}

void firn_links_save(firn_cache *cache) {
    if (!atomic_load_explicit(&cache->linking.stored, memory_order_acquire) ||
        firn_graph_has_doomed(cache->linking.graph)) {
        return; /* what is doomed still is known by its records alone */
    }
    firn_links_writer *writer;
    if (firn_links_writer_open(&writer, firn_cold_path(cache->cold),
                               firn_cold_store_id(cache->cold), cache->heap,
                               &cache->detail) == FIRN_OK) {
        firn_graph_save(cache->linking.graph, append, writer);
        /* What fails makes the next open slower, and loses nothing. */
        (void)firn_links_writer_finish(writer);
    }
}
