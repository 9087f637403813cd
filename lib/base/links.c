/* See links.h. */
#include "base/links.h"

#include <string.h>

#include <firn/options.h>

#include "base/varint.h"

static size_t varint_size(uint64_t number) {
    unsigned char bytes[FIRN_VARINT_MAX];
    return (size_t)(firn_put_varint(bytes, number) - bytes);
}

static firn_links *make(firn_heap *heap, size_t size) {
    firn_links *made = firn_heap_alloc(heap, sizeof *made + size);
    if (made != NULL) {
        atomic_init(&made->refs, 1);
        made->size = size;
    }
    return made;
}

firn_links *firn_links_new(firn_heap *heap, const firn_link *links, size_t count) {
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        size +=
            1 + varint_size(links[i].version) + varint_size(links[i].key_size) + links[i].key_size;
    }
    firn_links *made = make(heap, size);
    if (made == NULL) {
        return NULL;
    }
    made->count = (uint32_t)count;
    unsigned char *to = made->bytes;
    for (size_t i = 0; i < count; i++) {
        *to++ = (unsigned char)links[i].kind;
        to = firn_put_varint(to, links[i].version);
        to = firn_put_varint(to, links[i].key_size);
        memcpy(to, links[i].key, links[i].key_size);
        to += links[i].key_size;
    }
    return made;
}

firn_links *firn_links_from(firn_heap *heap, const void *bytes, size_t size) {
    firn_links *made = make(heap, size);
    if (made != NULL) {
        memcpy(made->bytes, bytes, size);
        made->count = (uint32_t)firn_links_count(bytes, size);
    }
    return made;
}

firn_links *firn_links_ref(firn_links *links) {
    atomic_fetch_add_explicit(&links->refs, 1, memory_order_relaxed);
    return links;
}

void firn_links_unref(firn_links *links, firn_heap *heap) {
    if (links != NULL && atomic_fetch_sub_explicit(&links->refs, 1, memory_order_acq_rel) == 1) {
        firn_heap_free(heap, links, sizeof *links + links->size);
    }
}

bool firn_links_next(const void *bytes, size_t size, size_t *at, firn_link *link) {
    const unsigned char *from = (const unsigned char *)bytes + *at;
    const unsigned char *end = (const unsigned char *)bytes + size;
    uint64_t version;
    uint64_t key_size;
    if (from == end) {
        return false;
    }
    unsigned kind = *from++;
    from = firn_get_varint(from, end, &version);
    from = from != NULL ? firn_get_varint(from, end, &key_size) : NULL;
    if (from == NULL || key_size == 0 || key_size > FIRN_KEY_SIZE_MAX ||
        key_size > (size_t)(end - from) ||
        (kind != FIRN_LINK_KEEPS && kind != FIRN_LINK_DEPENDS && kind != FIRN_LINKS_BODY)) {
        return false;
    }
    *link = (firn_link){kind, from, (size_t)key_size, version};
    *at = (size_t)(from - (const unsigned char *)bytes) + (size_t)key_size;
    return true;
}

size_t firn_links_count(const void *bytes, size_t size) {
    size_t count = 0;
    size_t at = 0;
    firn_link link;
    while (firn_links_next(bytes, size, &at, &link)) {
        count++;
    }
    return at == size && count <= FIRN_LINKS_MAX + 1 /* and one to a body */ ? count : SIZE_MAX;
}
