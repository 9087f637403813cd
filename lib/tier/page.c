/* Keeps firn.page, by which other processes watch this one: when it is due, and what goes into it.
 * Called by the background work and at the close. That there can be no page is counted, and harms
 * nothing else. */
#include <unistd.h>

#include "observe/page.h"
#include "tier/cache.h"

enum { REST_MAX = 16 /* times the interval, between pages while nothing happens */ };

/* Large: not for a stack. */
struct firn_page_numbers {
    firn_stats stats;
    firn_latencies latencies;
};

/* *changed: something but the time did since the last page. */
static void write_page(firn_cache *cache, uint64_t now_ns, bool closed, bool *changed) {
    firn_paging *self = &cache->paging;
    *changed = false;
    if (self->writer == NULL) {
        return;
    }
    self->numbers->stats = (firn_stats)FIRN_STATS_INIT;
    self->numbers->latencies.size = sizeof self->numbers->latencies;
    firn_get_stats(cache, &self->numbers->stats);
    firn_get_latencies(cache, &self->numbers->latencies);
    bool runs = cache->options.threads > 0;
    firn_page_times times = {
        .opened_ms = self->opened_ms,
        .written_ms = firn_clock_now_ms(NULL),
        .uptime_ns = now_ns - self->opened_ns,
        .next_ms = runs && !closed ? cache->options.page_ms * REST_MAX : 0,
        .closed = closed,
    };
    if (firn_page_writer_write(self->writer, &self->numbers->stats, &self->numbers->latencies,
                               cache->deciding.last, &times, changed) != FIRN_OK) {
        atomic_fetch_add_explicit(&self->errors, 1, memory_order_relaxed);
    }
}

void firn_page_begin(firn_cache *cache) {
    firn_paging *self = &cache->paging;
    if (cache->cold == NULL || cache->options.read_only ||
        cache->options.page_ms == FIRN_PAGE_OFF) {
        return;
    }
    self->opened_ms = firn_clock_now_ms(NULL);
    self->opened_ns = firn_monotonic_ns();
    self->rest = 1;
    self->numbers = firn_heap_alloc(cache->heap, sizeof *self->numbers);
    if (self->numbers == NULL ||
        firn_page_writer_open(&self->writer, firn_cold_path(cache->cold),
                              firn_cold_store_id(cache->cold), cache->seed, cache->deciding.last,
                              cache->heap) != FIRN_OK) {
        self->writer = NULL;
        atomic_store_explicit(&self->errors, 1, memory_order_relaxed);
        return;
    }
    bool changed;
    write_page(cache, self->opened_ns, false, &changed);
}

void firn_page_step(firn_cache *cache, uint64_t now_ns, uint64_t *wait_ns) {
    firn_paging *self = &cache->paging;
    if (self->writer == NULL) {
        return;
    }
    if (now_ns >= self->due_ns) {
        bool changed;
        write_page(cache, now_ns, false, &changed);
        self->rest = changed ? 1 : self->rest < REST_MAX ? self->rest * 2 : REST_MAX;
        uint64_t interval_ns = firn_ns_of_ms(cache->options.page_ms);
        self->due_ns = now_ns + interval_ns;
        /* While nothing happens, a thread of our own need not wake for it each time. */
        self->rest_ns = now_ns + self->rest * interval_ns;
    }
    firn_wait_at_most(wait_ns, firn_span(now_ns, self->rest_ns));
}

void firn_page_end(firn_cache *cache) {
    bool changed;
    write_page(cache, firn_monotonic_ns(), true, &changed);
}

void firn_page_fini(firn_cache *cache) {
    firn_page_writer_close(cache->paging.writer);
    cache->paging.writer = NULL;
    if (cache->paging.numbers != NULL) {
        firn_heap_free(cache->heap, cache->paging.numbers, sizeof *cache->paging.numbers);
    }
}
